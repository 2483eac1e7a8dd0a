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

"""Transcripts as a real bridge writes them."""

import collections.abc
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import typing
import uuid

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import transcripts
from tests.support import viewers
from tests.support import waiting

FIRST, SECOND = str(uuid.uuid4()), str(uuid.uuid4())


def options(directory: pathlib.Path, **changes: int
            ) -> dict[str, typing.Any]:
    """What a conductor tells of transcripts."""
    return {'transcript': {
        'directory': str(directory), 'max_bytes': 4 * 1024 * 1024,
        'backups': 4, 'buffer': 256 * 1024, **changes}}


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where transcripts go; not there yet."""
    return tmp_path / 'consoles'


@pytest.fixture
def bridge(directory: pathlib.Path
           ) -> collections.abc.Iterator[bridge_support.Bridge]:
    """A bridge that writes transcripts."""
    with bridge_support.Bridge(**options(directory)) as process:
        yield process
        check_unharmed(process)


def wait_event(directory: pathlib.Path, node: str, pattern: str,
               timeout: float = waiting.PATIENCE) -> list[str]:
    """Wait until an event is in a transcript; gives all of them."""
    def look() -> list[str] | None:
        events = transcripts.events(transcripts.contents(directory, node))
        return events if any(
            re.search(pattern, event) for event in events) else None

    found = waiting.wait_until(
        look, f'the event {pattern}', timeout, 0.1,
        lambda: transcripts.contents(directory, node)[-2000:])
    assert found is not None
    return found


def wait_stream(directory: pathlib.Path, node: str, expected: bytes,
                timeout: float = waiting.PATIENCE) -> bytes:
    """Wait until a stream is in a transcript; gives the files."""
    end = expected[-400:]
    with contextlib.suppress(AssertionError):
        waiting.wait_until(
            lambda: transcripts.stream(b''.join(
                path.read_bytes() for path in transcripts.files(
                    directory, node)[-2:])).endswith(end),
            'the end of the stream', timeout, 0.2)
    contents = transcripts.contents(directory, node)
    waiting.assert_same_bytes(
        transcripts.stream(contents), expected, 'the transcript')
    return contents


def wait_taken(bridge: bridge_support.Bridge, node: str, count: int,
               timeout: float = waiting.PATIENCE) -> None:
    """Wait until the bridge has taken so many bytes from the BMC."""
    waiting.wait_until(
        lambda: bridge.show(node)['bytes_out'] == count,
        f'{count} bytes taken from the BMC', timeout, 0.1,
        seen=bridge.consoles)


def test_what_happened_at_a_console(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc, name='web-1')
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        bmc.host.send(b'login: ')
        viewer.wait_exactly(b'login: ')
    wait_viewers(bridge, 0)
    bridge.request('release', {'node': spec.node, 'seconds': 0})
    bridge.wait_state(spec.node, 'released')
    bridge.request('resume', {'node': spec.node})
    bridge.wait_state(spec.node, 'connected')
    bridge.request('close', {'node': spec.node, 'park': 30})
    again = dataclasses.replace(spec, generation=uuid.uuid4().hex)
    bridge.open(again)
    bridge.close(spec.node)
    events = wait_event(directory, spec.node, '^closed$')
    connected = f'connected to 127.0.0.1:{bmc.port}, cipher suite 3'
    patterns = [
        f'transcript of node {spec.node}, instance none',
        'opened by cond-test, node name web-1', connected,
        r'viewer 127\.0\.0\.1:[0-9]+ came',
        r'viewer 127\.0\.0\.1:[0-9]+ left',
        'asked by the conductor: release', 'released',
        'asked by the conductor: resume', connected, 'parked', 'taken up',
        'closed']
    assert len(events) == len(patterns), events
    for event, pattern in zip(events, patterns):
        assert re.fullmatch(pattern, event), events
    assert transcripts.stream(
        transcripts.contents(directory, spec.node)) == b'login: '
    file, = transcripts.files(directory, spec.node)
    assert oct(file.stat().st_mode) == '0o100640'
    assert oct(directory.stat().st_mode) == '0o40750'


def test_a_theft_and_who_holds_it(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    model_bmc.steal('second')
    events = wait_event(directory, spec.node, '^stolen: ')
    assert any('second' in event for event in events), events


def test_a_console_that_nobody_was_let_into_leaves_no_file(
        bridge: bridge_support.Bridge, directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(address='127.0.0.1', port=9)
    bridge.request('open', {'spec': spec.to_json(), 'wait': 0,
                            'admit': False})
    bridge.close(spec.node)
    other = bridge_support.make_spec(address='127.0.0.1', port=9)
    bridge.open(other, wait=0)
    wait_event(directory, other.node, '^opened')
    assert not transcripts.files(directory, spec.node)


def test_an_absent_bmc_is_one_event_however_often_it_is_tried(
        bridge: bridge_support.Bridge, directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(address='127.0.0.1', port=9)
    bridge.open(spec)
    wait_event(directory, spec.node, '^not connected: ')
    for _ in range(3):
        bridge.request('retry', {'node': spec.node})
        bridge.wait_state(spec.node, 'waiting')
    bridge.close(spec.node)
    events = wait_event(directory, spec.node, '^closed$')
    assert len([event for event in events
                if event.startswith('not connected')]) == 1, events


def test_a_host_that_prints_records_forges_none(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    forged = (b'\n2026-11-21T12:00:00.000Z # viewer 192.0.2.66:1 came\n'
              b'\r2026-11-21T12:00:00.000Z # closed\n')
    bmc.host.send(forged)
    contents = wait_stream(directory, spec.node, forged)
    assert not any('192.0.2.66' in event or event == 'closed'
                   for event in transcripts.events(contents))


def test_a_new_owner_has_a_file_with_nothing_of_the_old_one(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc, instance_uuid=FIRST)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        bmc.host.send(b'secret of the first, no end')
        viewer.wait_for(b'no end')
        spec = dataclasses.replace(spec, instance_uuid=SECOND)
        bridge.open(spec)
        viewer.wait_closed()
    bmc.host.send(b'the second\r\n')
    wait_event(directory, spec.node, f'given to instance {SECOND}')
    waiting.wait_until(
        lambda: b'the second' in transcripts.contents(
            directory, spec.node), 'the output of the second owner')
    old, new = [path.read_bytes()
                for path in transcripts.files(directory, spec.node)]
    assert transcripts.stream(old) == b'secret of the first, no end'
    assert transcripts.stream(new) == b'the second\r\n'
    assert not [event for event in transcripts.events(new)
                if FIRST in event or 'viewer' in event]
    assert SECOND not in str(transcripts.events(old))


def test_an_owner_that_came_while_nobody_looked(
        bmc: ipmi_sim.Bmc, directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc, instance_uuid=FIRST)
    for instance, words in ((FIRST, b'one\n'), (SECOND, b'two\n')):
        with bridge_support.Bridge(**options(directory)) as bridge:
            spec = dataclasses.replace(spec, instance_uuid=instance)
            bridge.connect(spec)
            bmc.host.send(words)
            wait_taken(bridge, spec.node, 4)
    assert [transcripts.stream(path.read_bytes()) for path in
            transcripts.files(directory, spec.node)] == [b'one\n', b'two\n']


def test_what_is_discarded_with_a_parked_console_is_in_no_file(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.model_spec(model_bmc, instance_uuid=FIRST)
    bridge.connect(spec)
    model_bmc.host.send(b'passed\n')
    wait_taken(bridge, spec.node, 7)
    bridge.request('close', {'node': spec.node, 'park': 30})
    model_bmc.host.send(b'of the first, seen by nobody\n')
    wait_taken(bridge, spec.node, 36)
    bridge.connect(dataclasses.replace(
        spec, generation=uuid.uuid4().hex, instance_uuid=SECOND))
    model_bmc.host.send(b'of the second\n')
    contents = wait_stream(
        directory, spec.node, b'passed\nof the second\n')
    assert contents.count(b'# transcript of node') == 2


def check_rotation(bmc: ipmi_sim.Bmc, directory: pathlib.Path, size: int,
                   timeout: float) -> None:
    """So much through rotation equals the stream, byte for byte."""
    text = hosts.text(size)
    max_bytes = 1024 * 1024
    with bridge_support.Bridge(**options(
            directory, max_bytes=max_bytes, backups=1000)) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        sent = bmc.host.stream(text)
        wait_taken(bridge, spec.node, len(text), timeout)
        sent.result(1)
        wait_stream(directory, spec.node, text)
        files = transcripts.files(directory, spec.node)
        assert len(files) > size / max_bytes
        assert all(max_bytes - 1024 < path.stat().st_size <= max_bytes
                   for path in files[:-1])
        check_unharmed(bridge)


def test_rotated_byte_for_byte(
        bmc: ipmi_sim.Bmc, directory: pathlib.Path) -> None:
    check_rotation(bmc, directory, 3_000_000, 120)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_fifty_megabytes_rotated_byte_for_byte(
        bmc: ipmi_sim.Bmc, directory: pathlib.Path) -> None:
    check_rotation(bmc, directory, 50_000_000, 1000)


def test_renamed_by_others_while_it_streams(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    text = hosts.text(600_000)
    sent = bmc.host.stream(text, rate=200_000)
    old = []
    file = directory / f'{spec.node}.log'
    for number in range(3):
        waiting.wait_until(lambda: transcripts.stream(file.read_bytes()),
                           'output in the file')
        old.append(directory / f'rotated-{number}')
        file.rename(old[-1])
    sent.result(60)
    wait_taken(bridge, spec.node, len(text))
    bridge.close(spec.node)
    wait_event(directory, spec.node, '^closed$')
    contents = b''.join(path.read_bytes() for path in (
        *old, directory / f'{spec.node}.log'))
    waiting.assert_same_bytes(
        transcripts.stream(contents), text, 'the transcript')


def test_renamed_while_the_host_is_silent(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    wait_event(directory, spec.node, '^connected')
    file = directory / f'{spec.node}.log'
    file.rename(directory / 'rotated')
    waiting.wait_until(file.exists, 'a new file', 15)


@contextlib.contextmanager
def small_disk(size: str) -> collections.abc.Iterator[pathlib.Path]:
    """A file system of its own."""
    with tempfile.TemporaryDirectory(prefix='solconsole.') as name:
        done = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', f'size={size},mode=750',
             'solconsole-test', name], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f'a tmpfs cannot be mounted: {done.stderr.strip()}')
        try:
            yield pathlib.Path(name)
        finally:
            subprocess.run(['umount', '-l', name], check=True)


def test_a_disk_that_is_full_for_a_while(bmc: ipmi_sim.Bmc) -> None:
    text = hosts.text(2_000_000)
    with (small_disk('1m') as disk, bridge_support.Bridge(**options(
            disk, max_bytes=0, buffer=64 * 1024)) as bridge):
        ballast = disk / 'ballast'
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        bmc.host.send(text[:200_000])
        wait_taken(bridge, spec.node, 200_000)
        wait_stream(disk, spec.node, text[:200_000])
        with open(ballast, 'wb', buffering=0) as file, (
                contextlib.suppress(OSError)):
            while True:
                file.write(b'\0' * 4096)
        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(bridge, 1)
            viewer.clear()
            bmc.host.send(text[200_000:1_600_000])
            wait_taken(bridge, spec.node, 1_600_000, 100)
            assert text[1_500_000:1_600_000] in viewer.data, (
                'the viewer has noticed that the disk was full')
        ballast.unlink()
        wait_event(disk, spec.node, 'lost here')
        bmc.host.send(text[1_600_000:1_900_000])
        wait_taken(bridge, spec.node, 1_900_000)
        bridge.close(spec.node)
        wait_event(disk, spec.node, '^closed$')
        lost = check_marks(
            transcripts.contents(disk, spec.node), text[:1_900_000])
        assert lost > 1_000_000
        told = bridge.logged('cannot be written')
        assert len(told) == 1 and 'No space left' in told[0].message, told
        assert bridge.logged('written again')
        assert not bridge.output() and not bridge.faults


def check_marks(contents: bytes, sent: bytes) -> int:
    """Every byte is there, or counted by a mark in its place.

    :returns: how many the marks count.
    """
    position = lost = 0
    pending = b''
    for _, kind, body in [*transcripts.records(contents),
                          (b'', b'#', b'0 bytes of output are lost here')]:
        if kind != b'#':
            pending += body + (b'\n' if kind == b'|' else b'')
        elif match := re.match(rb'([0-9]+) bytes of output .*lost here',
                               body):
            waiting.assert_same_bytes(
                pending, sent[position:position + len(pending)],
                f'output between marks, from byte {position}')
            position += len(pending) + int(match[1])
            lost += int(match[1])
            pending = b''
    assert position == len(sent), (position, len(sent))
    return lost


def test_where_a_link_lies_nothing_is_written(
        bmc: ipmi_sim.Bmc, directory: pathlib.Path) -> None:
    directory.mkdir(0o750)
    target = directory / 'target'
    target.write_bytes(b'theirs')
    spec = bridge_support.make_spec(bmc)
    (directory / f'{spec.node}.log').symlink_to(target)
    with bridge_support.Bridge(**options(directory)) as bridge:
        bridge.connect(spec)
        bmc.host.send(b'words\r\n')
        waiting.wait_until(lambda: bridge.logged('symbolic link'),
                           'a complaint', seen=bridge.report)
        record, = bridge.logged('symbolic link')
        assert record.node == spec.node
    assert target.read_bytes() == b'theirs'


@pytest.mark.parametrize('change', [
    {'directory': 'relative'}, {'directory': None}, {'directory': '/a\0'},
    {'max_bytes': -1}, {'max_bytes': True}, {'backups': 1001},
    {'buffer': 1}, {'buffer': '1'}])
def test_bad_options_are_refused(
        tmp_path: pathlib.Path, change: dict[str, typing.Any]) -> None:
    good = options(tmp_path)['transcript']
    process = bridge_support.Bridge(transcript={**good, **change})
    process.start()
    try:
        with pytest.raises(Exception, match='transcripts|null'):
            process.configure()
    finally:
        process.stop()


def test_those_of_nodes_that_are_gone_are_removed(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    bridge.close(spec.node)
    wait_event(directory, spec.node, '^closed$')
    ask = {'there': [], 'gone': [], 'age': 86400}
    waiting.wait_until(
        lambda: bridge.request('transcripts', ask)['nodes'] == [spec.node],
        'the node among those with a transcript')
    gone = {**ask, 'gone': [spec.node]}
    mark = directory / f'{spec.node}.gone'
    waiting.wait_until(
        lambda: bridge.request('transcripts', gone) and mark.exists(),
        'a mark that the node is gone')
    assert transcripts.files(directory, spec.node)
    os.utime(mark, (0, 0))
    waiting.wait_until(
        lambda: bridge.request('transcripts', gone)
        and not list(directory.iterdir()), 'nothing left of it')
    with pytest.raises(Exception, match='UUID'):
        bridge.request('transcripts', {**gone, 'gone': ['../../etc']})


class Log:
    """``ironic-solconsole log``, as it runs.

    :param words: of its command line.
    """

    def __init__(self, directory: pathlib.Path, *words: object) -> None:
        self._file = os.memfd_create('log')
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'ironic_solconsole.cli.main', 'log',
             '--transcript-dir', str(directory), *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=self._file,
            stderr=subprocess.STDOUT)

    @property
    def output(self) -> bytes:
        """What it has printed."""
        return os.pread(self._file, 1 << 26, 0)

    def wait_for(self, wanted: bytes) -> None:
        """Wait until it has printed this."""
        waiting.wait_until(lambda: wanted in self.output,
                           f'{wanted!r} printed', 60, 0.1,
                           seen=lambda: self.output[-2000:])

    def end(self, number: int = signal.SIGINT) -> int:
        """End it; gives its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            processes.end(self.process, 1.0)


def test_followed_across_rotation(
        bmc: ipmi_sim.Bmc, directory: pathlib.Path) -> None:
    text = hosts.text(700_000)
    with bridge_support.Bridge(**options(
            directory, max_bytes=64 * 1024, backups=100)) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        wait_event(directory, spec.node, '^connected')
        raw = Log(directory, '--raw', '--follow', spec.node)
        shown = Log(directory, '-f', spec.node)
        try:
            shown.wait_for(b'# connected to')
            bmc.host.send(text)
            raw.wait_for(text[-60:].splitlines()[-1])
            bridge.close(spec.node)
            shown.wait_for(b'# closed')
        finally:
            codes = raw.end(), shown.end()
        assert codes == (0, 0)
        waiting.assert_same_bytes(raw.output, text, 'what --raw printed')
        lines = [line[27:] for line in shown.output.splitlines()
                 if line[25:26] == b'|']
        assert b'\n'.join(lines).startswith(
            text[:100_000].replace(b'\r\n', b'\n'))
        assert len(transcripts.files(directory, spec.node)) > 10


def test_followed_before_there_is_anything(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc)
    waiting.wait_until(directory.exists, 'the directory')
    shown = Log(directory, '-f', spec.node)
    try:
        bridge.connect(spec)
        shown.wait_for(b'# connected to')
    finally:
        assert shown.end() == 0
    assert b'Traceback' not in shown.output


def test_what_reads_it_may_have_enough(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    bmc.host.send(hosts.text(300_000))
    wait_taken(bridge, spec.node, 300_000)
    wait_event(directory, spec.node, '^connected')
    log = (f'{sys.executable} -m ironic_solconsole.cli.main log '
           f'--transcript-dir {directory} {spec.node}')
    for command in (f'{log} | head -n 3', f'{log} --follow | head -n 3',
                    f'{log} --raw | head -c 1000'):
        done = subprocess.run(
            ['bash', '-c', f'{command}; echo ${{PIPESTATUS[0]}}'],
            capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.stderr == b'', command
        assert done.stdout.endswith(b'\n0\n') or (
            done.stdout[1000:] == b'0\n'), (command, done.stdout[-200:])


def test_the_way_that_the_documentation_shows(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        directory: pathlib.Path) -> None:
    page = (pathlib.Path(__file__).parents[2] / 'doc/source/admin'
            / 'transcript.rst').read_text()
    command = re.search(r"\$ (perl -ne '[^']+') FILE", page)
    assert command is not None
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    text = bytes(range(256)) * 40 + b'\r\n\n\nlogin: '
    with viewers.Viewer(spec.url) as viewer:
        bmc.host.send(text)
        viewer.wait_for(b'login: ')
    bridge.close(spec.node)
    wait_event(directory, spec.node, '^closed$')
    file, = transcripts.files(directory, spec.node)
    done = subprocess.run(f'{command[1]} {file}', shell=True,
                          capture_output=True, timeout=20)
    waiting.assert_same_bytes(done.stdout, text, 'what perl printed')
