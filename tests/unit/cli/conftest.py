# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Run the command line inside the test."""

import collections.abc
import contextlib
import dataclasses
import io
import json
import logging
import pathlib

import pytest

from ironic_solconsole import control
from ironic_solconsole.cli import main


@dataclasses.dataclass
class Output:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> control.Json | list[control.Json]:
        """What ``-f json`` printed."""
        value = json.loads(self.stdout)
        assert isinstance(value, (dict, list))
        return value


Run = collections.abc.Callable[..., Output]


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """An empty run directory."""
    return tmp_path


@pytest.fixture
def run(run_dir: pathlib.Path) -> collections.abc.Iterator[Run]:
    """Run a command line, by default with the run directory of the test."""
    def command(*words: object, with_run_dir: bool = True) -> Output:
        stdout = io.TextIOWrapper(io.BytesIO(), 'utf-8')
        stderr = io.TextIOWrapper(io.BytesIO(), 'utf-8')
        where = ['--run-dir', str(run_dir)] if with_run_dir else []
        with (contextlib.redirect_stdout(stdout),
              contextlib.redirect_stderr(stderr)):
            try:
                code = main.main([*where, *map(str, words)])
            except SystemExit as end:
                # As the interpreter does: no code is success.
                code = int(end.code or 0)
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read())
        return Output(code, *texts)

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield command
    root.handlers[:] = before       # cliff adds one a run
    root.setLevel(level)
