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

"""Child processes of tests: started so that they cannot stay behind."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

from tests.support import waiting


def die_with_us(command: list[str]) -> list[str]:
    """Make the kernel end a command when the test process dies.

    A fixture does not run its end when pytest itself is killed. Start it
    from the main thread: the signal comes when the thread that forked
    ends. Without util-linux's setpriv the command is left as it is.
    """
    setpriv = shutil.which('setpriv')
    return [setpriv, '--pdeathsig', 'KILL', *command] if setpriv else command


def end(process: 'subprocess.Popen[bytes]', timeout: float = 5.0) -> int:
    """End a process that we started, by its pid; SIGKILL after a while.

    :param timeout: seconds that it has for SIGTERM.
    :returns: its exit status as Popen gives it.
    """
    if process.poll() is None:
        # A stopped process takes no SIGTERM.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    return process.returncode


def run_text(*command: str) -> str:
    """Run a command that must succeed; gives what it printed."""
    done = subprocess.run(command, capture_output=True, text=True,
                          timeout=20, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f'{command}: {done.stderr}'
    return done.stdout


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not reaped does not."""
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return False
    return stat.rpartition(')')[2].split()[0] not in 'ZX'


def wait_gone(pid: int, what: str, timeout: float = 6.0) -> None:
    """Wait until a process has ended; it need not be our child."""
    waiting.wait_until(lambda: not alive(pid), f'end of {what}, pid {pid}',
                       timeout)


def command_line(pid: int) -> str:
    """Arguments of a process, or '' when it is gone."""
    try:
        raw = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return ''
    return raw.replace(b'\0', b' ').decode(errors='replace').strip()


def memory_kib(pid: int) -> int:
    """Resident memory of a process in KiB."""
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1])
    raise AssertionError(f'process {pid} has no memory: it has ended')


def open_files(pid: int) -> int:
    """Number of file descriptors that a process has open."""
    return len(os.listdir(f'/proc/{pid}/fd'))
