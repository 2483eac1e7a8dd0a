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

"""What is made of what was found on a host; nothing real is looked at."""

import dataclasses
import os
import pathlib
import typing

import pytest

from ironic_solconsole import coordination
from ironic_solconsole.cli import checks
from ironic_solconsole.cli.checks import backend
from ironic_solconsole.cli.checks import directories
from ironic_solconsole.cli.checks import hardware
from ironic_solconsole.cli.checks import helper
from ironic_solconsole.cli.checks import network
from ironic_solconsole.cli.checks import packages
from ironic_solconsole.cli.checks import processes
from ironic_solconsole.cli.checks.directories import Look

OK, WARNING, ERROR, SKIPPED = checks.Verdict
IRONIC = processes.Account(998, 997, frozenset({997, 50}), 'ironic')
PATH = pathlib.Path('/var/lib/ironic/x')


def judged(look: Look, private: int = 0o077) -> checks.Finding:
    return directories.judge('x', PATH, look, IRONIC, private=private,
                             option='[solconsole]x')


# -- directories ---------------------------------------------------------


@pytest.mark.parametrize(('look', 'verdict', 'advice'), [
    (Look(uid=998, mode=0o700), OK, ''),
    (Look(uid=998, mode=0o750), WARNING, f'chmod 0700 {PATH}'),
    (Look(uid=998, mode=0o2707), WARNING, f'chmod 2700 {PATH}'),
    (Look(uid=998, mode=0o500), ERROR, f'chmod u+rwx {PATH}'),
    (Look(uid=998, mode=0o600), ERROR, f'chmod u+rwx {PATH}'),
    (Look(uid=0, mode=0o777), ERROR, f'chown 998:997 {PATH}'),
    (Look(uid=998, directory=False), ERROR, 'set [solconsole]x to one'),
    (Look(exists=False, denied=True), SKIPPED,
     'run this as root or as ironic')])
def test_a_directory_must_be_the_conductors_alone(
        look: Look, verdict: checks.Verdict, advice: str) -> None:
    found = judged(look)
    assert (found.verdict, found.advice) == (verdict, advice)


def test_a_group_may_be_let_in_where_that_is_meant() -> None:
    assert judged(Look(uid=998, mode=0o750), private=0o007).verdict is OK


@pytest.mark.parametrize(('above', 'verdict'), [
    (Look(uid=998, mode=0o700), OK),
    (Look(uid=0, gid=50, mode=0o775), OK),
    (Look(uid=0, gid=0, mode=0o777), OK),
    (Look(uid=0, gid=50, mode=0o755), ERROR),
    # the owner's bits count alone, whatever others may
    (Look(uid=998, mode=0o577), ERROR),
    (Look(uid=998, directory=False), ERROR)])
def test_what_is_missing_must_be_possible_to_make(
        above: Look, verdict: checks.Verdict) -> None:
    found = judged(Look(exists=False, parent=(PATH.parent, above)))
    assert found.verdict is verdict


def test_root_may_all() -> None:
    root = processes.Account(0, 0, frozenset({0}), 'root')
    assert Look(uid=5, mode=0).lets(root, 6)


def test_looking_follows_links_above_and_not_at_the_end(
        tmp_path: pathlib.Path) -> None:
    (tmp_path / 'real').mkdir(mode=0o750)
    (tmp_path / 'link').symlink_to('real')
    assert directories.look(tmp_path / 'real').mode == 0o750
    assert not directories.look(tmp_path / 'link').directory
    assert directories.look(tmp_path / 'link', follow=True).directory
    missing = directories.look(tmp_path / 'link' / 'a' / 'b')
    assert not missing.exists and missing.parent is not None
    assert missing.parent[0] == tmp_path / 'link'
    assert missing.parent[1].directory


@pytest.mark.parametrize(('size', 'verdict'), [(107, OK), (108, ERROR)])
def test_a_socket_path_has_107_bytes_at_most(
        size: int, verdict: checks.Verdict) -> None:
    run_dir = pathlib.Path('/' + 'x' * (size - len('/123456789012/0.sock')
                                        - 1))
    found = directories.judge_socket_path(run_dir, 'cond', 1)
    assert found.verdict is verdict
    if verdict is ERROR:
        assert f'at most {len(str(run_dir)) - 1} bytes' in found.advice


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
filer:/x /var/lib/ironic nfs4 rw 0 0
tmpfs /var/lib/ironic/with\\040blank tmpfs rw 0 0
broken
"""


def test_locks_belong_on_a_local_disk_that_nobody_cleans() -> None:
    for text, kind in (('/etc', 'ext4'), ('/var/lib/ironic/a', 'nfs4'),
                       ('/var/lib/ironical', 'ext4'),
                       ('/var/lib/ironic/with blank/a', 'tmpfs')):
        assert directories.filesystem(pathlib.Path(text), MOUNTS) == kind
    judge = directories.judge_lock_place
    assert judge(PATH, 'ext4') is None
    for path, kind in ((PATH, 'nfs4'), (pathlib.Path('/tmp/x'), 'ext4')):
        found = judge(path, kind)
        assert found is not None and found.verdict is WARNING


# -- processes -----------------------------------------------------------


@pytest.mark.parametrize(('argv', 'role'), [
    (['/usr/bin/python3', '-P', '-m', 'ironic_solconsole.bridge', '--host',
      'a'], 'bridge'),
    (['/venv/bin/python3.11', '/venv/bin/ironic-conductor'], 'conductor'),
    (['/venv/bin/python', '-W', 'ignore', '/venv/bin/ironic'], 'conductor'),
    (['ironic-conductor: worker(0)'], 'conductor'),
    (['/usr/bin/ironic-conductor', '--config-file', 'x'], 'conductor'),
    (['/venv/bin/python', '/venv/bin/ironic-api'], ''),
    (['vim', 'ironic'], ''), (['su', '-', 'ironic'], ''),
    (['grep', 'ironic_solconsole'], ''), ([''], ''), ([], '')])
def test_conductors_and_bridges_are_known_by_their_command_lines(
        argv: list[str], role: str) -> None:
    assert processes.role(argv) == role


def make(pid: int, uid: int, role: str = 'conductor', host: str = '',
         limit: int | None = 65536, used: int | None = 10
         ) -> processes.Process:
    return processes.Process(pid, uid, role, host, limit, used)


@pytest.mark.parametrize(('found', 'own', 'state', 'uid'), [
    ([make(1, 998)], 0, 5, 998),
    ([make(1, 998), make(2, 998)], 1000, 5, 998),
    # its own bridge tells more than somebody's conductor
    ([make(1, 7), make(2, 998, 'bridge', 'here')], 0, 5, 998),
    ([make(1, 7, 'bridge', 'there')], 0, 5, 5),
    ([make(1, 7), make(2, 8)], 0, 5, 5),
    ([], 1000, 5, 1000), ([], 0, 5, 5), ([], 0, None, 0)])
def test_whose_the_conductor_is(
        found: list[processes.Process], own: int, state: int | None,
        uid: int) -> None:
    assert processes.conductor_account(found, 'here', own, state)[0] == uid


def test_who_is_neither_root_nor_the_conductor_does_not_see_all() -> None:
    for own, verdict in ((0, OK), (998, OK), (1000, WARNING)):
        assert processes.judge_account(IRONIC, own).verdict is verdict


def test_limits_are_read_as_proc_has_them() -> None:
    text = pathlib.Path('/proc/self/limits').read_text()
    assert processes.hard_limit(text)
    line = 'Max open files            1024                 {} files\n'
    assert processes.hard_limit(line.format('524288    ')) == 524288
    assert processes.hard_limit(line.format('unlimited ')) == -1
    assert processes.hard_limit('') is None


@pytest.mark.parametrize(('limit', 'used', 'verdict'), [
    (65536, 10, OK), (-1, 10, OK), (4064, 10, OK), (4063, 10, WARNING),
    (65536, 60000, WARNING), (1024, None, WARNING), (None, None, SKIPPED)])
def test_a_limit_of_open_files_should_do_for_a_thousand_consoles(
        limit: int | None, used: int | None,
        verdict: checks.Verdict) -> None:
    found, = processes.judge_limits(
        [make(1, 0, limit=limit, used=used)], True, (1024, 1024))
    assert found.verdict is verdict


def test_without_a_conductor_the_shells_limit_stands_for_it() -> None:
    found, = processes.judge_limits([], False, (1024, 3064))
    assert found.verdict is OK
    assert 'no conductor runs' in found.detail
    assert 'enough for 1000 consoles' in found.detail


# -- network -------------------------------------------------------------

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid
   0: 0100007F:2710 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 \
0 111 1 0 100 0 0 10 0
   1: 0100007F:2711 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 \
0 222 1 0 100 0 0 10 0
"""


def test_only_who_listens_has_a_port() -> None:
    assert network.listening(TCP) == {10000: {'111'}}
    assert network.listening('') == {}


def listener(port: int, pid: int = 7, bridge: bool = False
             ) -> network.Listener:
    return network.Listener(port, pid, 'nginx' if pid else '', bridge)


def test_ports_in_use_are_told_by_whom() -> None:
    ranges = [range(10000, 10004), range(20000, 20001)]
    found = network.judge_ports(ranges, [])
    assert (found.verdict, found.detail) == (
        OK, '5 ports (10000-10003, 20000-20000), 5 of them free')
    found = network.judge_ports(ranges, [listener(10000, bridge=True)])
    assert found.verdict is OK and '1 are consoles' in found.detail
    others = [listener(10001), listener(10002), listener(10003, 0)]
    found = network.judge_ports(ranges, others)
    assert found.verdict is WARNING
    assert '2 of process 7 (nginx), 1 of a process of' in found.detail
    found = network.judge_ports(ranges, [
        *others, listener(10000), listener(20000)])
    assert found.verdict is ERROR


@pytest.mark.parametrize(('low', 'high', 'reserved', 'verdict'), [
    (32768, 60999, '', OK), (1024, 9999, '', OK), (1024, 10000, '', WARNING),
    (10999, 60999, '', WARNING), (11000, 60999, '', OK),
    (1024, 60999, '10000-10999\n', OK),
    (1024, 60999, '80,10000-10998', WARNING),
    (1024, 60999, '10000-10998,10999', OK)])
def test_the_kernel_must_not_give_the_ports_to_others(
        low: int, high: int, reserved: str,
        verdict: checks.Verdict) -> None:
    found = network.judge_ephemeral(
        [range(10000, 11000)], low, high, network.parse_reserved(reserved))
    assert found.verdict is verdict


@pytest.mark.parametrize(('address', 'verdict'), [
    ('127.0.0.1', WARNING), ('0.0.0.0', WARNING), ('192.0.2.1', ERROR),
    ('host', ERROR), ('', ERROR), ('127.0.0.1\n', ERROR)])
def test_the_address_must_be_of_this_host(
        address: str, verdict: checks.Verdict) -> None:
    assert network.check_address(address).verdict is verdict


# -- packages ------------------------------------------------------------

WANTED = ['cliff>=4.7.0', 'pyghmi<1.7,>=1.6.0',
          'redis>=5.0.0; extra == "redis"', 'kazoo; extra == "zookeeper"',
          'old; python_version < "3.0"']


def verdicts(installed: dict[str, str], extra: str = ''
             ) -> dict[str, checks.Verdict]:
    return {found.check: found.verdict
            for found in packages.judge(WANTED, extra, installed.get)}


def test_what_is_missing_or_not_tested_has_a_line() -> None:
    good = {'cliff': '4.17.0', 'pyghmi': '1.6.19'}
    assert verdicts(good) == {'package pyghmi': OK, 'packages': OK}
    assert verdicts(good, 'redis') == {
        'package pyghmi': OK, 'package redis': ERROR, 'packages': OK}
    assert verdicts({**good, 'redis': '5.0.0'}, 'redis') == verdicts(good)
    assert verdicts({**good, 'pyghmi': '1.7.0'})['package pyghmi'] is ERROR
    assert verdicts({**good, 'cliff': '4.6.9'})['package cliff'] is ERROR
    assert verdicts({'cliff': '5'})['package pyghmi'] is ERROR
    # a release of a distribution, or of git
    assert verdicts({**good, 'pyghmi': '1.6.19.dev3'}) == verdicts(good)


# -- hardware types ------------------------------------------------------


def types(enabled: bool = True, **answers: dict[str, typing.Any]
          ) -> dict[str, checks.Verdict]:
    return {found.check: found.verdict for found in hardware.judge(
        list(answers), {'ironic': '39.0.0', 'types': answers}, enabled)}


@pytest.mark.parametrize(('answer', 'verdict'), [
    ({'accepted': True, 'default': 'no-console'}, OK),
    ({'accepted': False, 'default': 'no-console'}, OK),
    ({'accepted': True, 'default': 'solconsole'}, WARNING),
    ({'accepted': True, 'default': None}, ERROR),
    ({'error': 'it is not installed'}, ERROR)])
def test_what_a_hardware_type_says(
        answer: dict[str, typing.Any], verdict: checks.Verdict) -> None:
    found = types(ipmi=answer,
                  redfish={'accepted': True, 'default': 'no-console'})
    assert found['hardware type ipmi'] is verdict
    assert 'hardware types' not in found


def test_one_type_at_least_must_accept_it() -> None:
    found = types(snmp={'accepted': False, 'default': 'no-console'})
    assert found['hardware types'] is ERROR


def test_an_ironic_that_does_not_answer_is_one_line(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, '_MODULE', 'none.such.module')
    found, = hardware.check(['ipmi'], ['no-console'], None, IRONIC
                            if os.geteuid() else processes.account(0))
    assert found.verdict is ERROR
    assert 'No module named' in found.detail


# -- what keeps the locks ------------------------------------------------

REDIS = coordination.Coordination('redis://u:hunter2@192.0.2.1:6379?db=1')


def locks(**answer: object) -> list[checks.Finding]:
    return backend.judge(REDIS, {
        'ttl': 30.0, 'warnings': [], 'holder': None, 'seconds': 0.004,
        **answer})


def test_what_a_probe_says() -> None:
    good, = locks()
    assert (good.verdict, good.detail) == (
        OK, 'redis://192.0.2.1:6379: a lock was taken and freed in 4 ms')
    assert [found.verdict for found in locks(warnings=['a', 'b'])] == [
        OK, WARNING, WARNING]
    assert locks(ttl=10.0)[0].verdict is WARNING
    assert 'another check' in locks(holder='')[0].detail
    bad, = locks(error='no answer', missing=False)
    assert bad.verdict is ERROR
    missing, = locks(error='no library', missing=True)
    assert 'ironic-solconsole[redis]' in missing.advice


def test_no_secret_of_the_url_is_told(
        monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def fail(module: str, data: object, **more: object) -> object:
        given.append(data)
        raise helper.HelperError('no answer')

    monkeypatch.setattr(helper, 'run', fail)
    found, = backend.check(REDIS, IRONIC)
    assert found.verdict is ERROR
    assert 'hunter2' in str(given)
    assert 'hunter2' not in str(dataclasses.astuple(found))


def test_a_lock_directory_is_not_made(tmp_path: pathlib.Path) -> None:
    settings = coordination.Coordination(f'file://{tmp_path}/none')
    found, = backend.check(settings, IRONIC)
    assert found.verdict is SKIPPED
    assert not (tmp_path / 'none').exists()


def test_a_helper_that_hangs_or_talks_nonsense_is_one_line(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    for code, words in (
            ('import time; time.sleep(60)', 'no answer within 2 s'),
            ('print("hello")', 'it ended with 0: no output'),
            ('print([])', 'its answer is not an object'),
            ('raise SystemExit("bad luck")', 'it ended with 1: bad luck')):
        (tmp_path / 'helper_of_test.py').write_text(code)
        with pytest.raises(helper.HelperError) as caught:
            helper.run('helper_of_test', {}, timeout=2.0)
        assert words in str(caught.value)
