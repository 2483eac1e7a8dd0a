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

"""What is made of a file about a node, and of a BMC's answers."""

import dataclasses
import json
import pathlib
import typing

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from ironic_solconsole.cli import checks
from ironic_solconsole.cli.checks import bmc
from ironic_solconsole.cli.checks import node_file
from ironic_solconsole.sol import messages
from ironic_solconsole.sol import payload as sol_payload

OK, WARNING, ERROR, SKIPPED = checks.Verdict
INFO = {'ipmi_address': '192.0.2.7', 'ipmi_username': 'admin',
        'ipmi_password': 'hunter2'}
NODE = '11111111-1111-4111-8111-111111111111'


def parse(content: object) -> node_file.NodeFile:
    return node_file.parse(json.dumps(content).encode())


# -- the file ------------------------------------------------------------


@pytest.mark.parametrize('content', [
    {'uuid': NODE, 'name': 'n', 'driver_info': INFO, 'extra': {'a': [1]}},
    {'driver_info': INFO}, INFO])
def test_what_baremetal_prints_is_understood(content: object) -> None:
    assert parse(content).info == INFO


def test_uuid_and_name_are_taken_where_they_are() -> None:
    found = parse({'uuid': NODE.upper(), 'name': 'n', 'driver_info': INFO})
    assert (found.node, found.name) == (NODE, 'n')
    assert found.to_spec('persistent').node == NODE
    assert parse({'driver_info': INFO, 'name': None}).name == ''


YAML = b"""\
# by hand
driver_info:
    ipmi_address: 192.0.2.7
    ipmi_port: 6230
    ipmi_username: admin
    ipmi_password: 0123
    ipmi_hex_kg_key: 00112233
    ipmi_cipher_suite: 3
    solconsole_workarounds: [unencrypted, skip-sequence]
"""


def test_values_of_yaml_are_what_is_written() -> None:
    spec = node_file.parse(YAML).to_spec('on-demand')
    assert (spec.password, spec.kg, spec.port, spec.suites) == (
        '0123', '00112233', 6230, (3,))
    assert spec.workarounds == ('unencrypted', 'skip-sequence')
    assert spec.connection == 'on-demand'
    for word in ('no', 'null', 'true', '1e3', '2026-01-01'):
        text = YAML.replace(b'0123\n', word.encode() + b'\n', 1)
        assert node_file.parse(text).to_spec('persistent').password == word


@pytest.mark.parametrize('data', [
    b'', b'[]', b'null', b'"text"', b'{}', b'{"driver_info": []}',
    b'{"uuid": "x", "driver_info": {}}', b'\xff', b'{"a": ', b'a: b: c',
    b'[' * 100_000, b'&a [*a, *a]', b'{"driver_info": {"ipmi_address":',
    b'\0'])
def test_anything_else_is_refused_with_what_is_wanted(data: bytes) -> None:
    with pytest.raises(node_file.NodeFileError) as caught:
        node_file.parse(data)
    assert 'baremetal node show' in caught.value.advice


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        node_file.parse(data)
    except node_file.NodeFileError:
        pass


def test_a_broken_file_does_not_tell_its_password() -> None:
    for text in (YAML.decode().replace('0123', '"hunter2'),
                 '{"driver_info": {"ipmi_password": "hunter2"'):
        with pytest.raises(node_file.NodeFileError) as caught:
            node_file.parse(text.encode())
        assert 'hunter2' not in str(caught.value)


def test_complaints_are_those_of_the_driver() -> None:
    found = parse({'driver_info': {'ipmi_port': 0, 'ipmi_bridging': 'dual',
                                   'ipmi_password': 'hunter2' * 9}})
    with pytest.raises(node_file.NodeFileError) as caught:
        found.to_spec('persistent')
    text = str(caught.value)
    for field in ('ipmi_address', 'ipmi_port', 'ipmi_bridging',
                  'ipmi_password'):
        assert field in text
    assert 'hunter2' not in text


@pytest.mark.parametrize('field', [
    'ipmi_password', 'ipmi_hex_kg_key', 'redfish_password'])
def test_stars_are_no_secret(field: str) -> None:
    with pytest.raises(node_file.NodeFileError) as caught:
        parse({'driver_info': {**INFO, field: '******'}}
              ).to_spec('persistent')
    assert field in str(caught.value)
    assert 'stars' in str(caught.value)


def test_a_password_is_not_for_others(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'node.json'
    path.write_text(json.dumps(INFO))
    for mode, verdict in ((0o600, OK), (0o640, WARNING), (0o604, WARNING)):
        path.chmod(mode)
        found = node_file.judge_mode(node_file.read(str(path)), str(path))
        assert found.verdict is verdict
    path.write_text(json.dumps({'ipmi_address': '192.0.2.7'}))
    found = node_file.judge_mode(node_file.read(str(path)), str(path))
    assert found.verdict is OK, 'there is no secret in it'


def test_files_that_are_not_there_or_too_large(
        tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'large'
    path.write_bytes(b' ' * (1 << 20) + b'{}')
    for name in (path, tmp_path / 'none', tmp_path):
        with pytest.raises(node_file.NodeFileError) as caught:
            node_file.read(str(name))
        assert str(name) in str(caught.value)


# -- the answers of a BMC ------------------------------------------------

SPEC = parse({'driver_info': INFO}).to_spec('persistent')
UNKNOWN = messages.Answer(0xc1, b'')


def answer(*data: int) -> messages.Answer:
    return messages.Answer(0, bytes(data))


ADDRESS = (192, 0, 2, 1, 2, 0, 0, 0, 0, 1, 0x10, 0x27)
GOOD = bmc.Readings(
    suite=17, session=0x984, seconds=0.02, slowest=0.01,
    device=answer(0x20, 1, 2, 3, 2, 0x8f, 0xf2, 0x1b, 0, 1, 0),
    own=answer(1, 4, 1, 2, 4, 0x11, *ADDRESS),
    status=answer(1, 0, 0), instance=answer(0, 0, 0, 0, 1),
    access=answer(2, 0, 0, 0),
    parameters={1: answer(0x11, 1), 2: answer(0x11, 0xc4),
                8: answer(0x11, 0x6f, 0x02)}, holder=None)


def judge(spec: console_spec.ConsoleSpec = SPEC,
          ours: dict[int, str] | None = None,
          **changes: typing.Any) -> dict[str, list[checks.Finding]]:
    found: dict[str, list[checks.Finding]] = {}
    for each in bmc.judge(spec, dataclasses.replace(GOOD, **changes),
                          ours or {}):
        found.setdefault(each.check, []).append(each)
    return found


def one(name: str, **changes: typing.Any) -> checks.Finding:
    found, = judge(**changes)[name]
    return found


def test_a_bmc_with_which_all_is_well() -> None:
    verdicts = {name: [each.verdict for each in found]
                for name, found in judge().items()}
    assert verdicts == {
        'reachability': [OK], 'login': [OK], 'cipher suite': [OK],
        'sessions': [OK], 'SOL': [OK], 'SOL for the user': [OK],
        'SOL privilege': [OK], 'SOL holder': [OK],
        'payload sizes': [SKIPPED], 'quirks': [OK]}
    assert one('quirks').detail == 'none that shows'


@pytest.mark.parametrize(('name', 'changes', 'verdict'), [
    ('sessions', {'own': answer(1, 4, 4, 2, 4, 0x11)}, WARNING),
    ('sessions', {'own': UNKNOWN}, SKIPPED),
    ('SOL', {'parameters': {**GOOD.parameters, 1: answer(0x11, 0)}}, ERROR),
    ('SOL', {'parameters': {**GOOD.parameters, 1: UNKNOWN}}, SKIPPED),
    ('SOL', {'parameters': {**GOOD.parameters, 1: answer()}}, SKIPPED),
    ('SOL for the user', {'access': answer(0, 0, 0, 0)}, ERROR),
    ('SOL for the user', {'access': UNKNOWN}, SKIPPED),
    ('SOL privilege', {'parameters': {
        **GOOD.parameters, 2: UNKNOWN}}, SKIPPED),
    ('SOL privilege', {'spec': dataclasses.replace(
        SPEC, privilege='OPERATOR')}, ERROR),
    ('SOL privilege', {'spec': dataclasses.replace(
        SPEC, workarounds=('unencrypted',))}, ERROR),
    ('SOL holder', {'holder': sol_payload.Holder(5, True)}, WARNING),
    ('SOL holder', {'holder': sol_payload.Holder(0)}, WARNING),
    ('SOL holder', {'holder': sol_payload.Holder(0),
                    'ours': {0: 'socket'}}, WARNING),
    ('SOL holder', {'holder': sol_payload.Holder(5, True),
                    'ours': {5: 'socket'}}, OK),
    ('SOL holder', {'status': UNKNOWN, 'instance': UNKNOWN}, SKIPPED)])
def test_each_answer_has_its_verdict(
        name: str, changes: dict[str, typing.Any],
        verdict: checks.Verdict) -> None:
    assert one(name, **changes).verdict is verdict


@pytest.mark.parametrize(('changes', 'word', 'verdict'), [
    ({'status': UNKNOWN}, '4Ah', OK),
    ({'status': answer(0, 0, 0)}, 'capacity of 0', OK),
    ({'instance': UNKNOWN}, '4Bh', OK),
    ({'own': UNKNOWN}, 'does not tell of sessions', OK),
    ({'own': answer(1, 4, 1, 2, 4, 0x11)}, "sessions' addresses", OK),
    ({'slowest': 2.5}, '2.5 s', OK),
    ({'parameters': {**GOOD.parameters, 8: answer(0x11, 0x02, 0x6f)}},
     'bytes swapped', OK),
    ({'parameters': {**GOOD.parameters, 8: answer(0x11, 0x70, 0x02)}},
     'UDP port 624', WARNING),
    ({'device': answer(0x20, 1, 2, 3, 2, 0x8f, 0x57, 1, 0, 1, 0)},
     'Intel', OK)])
def test_habits_that_show_are_told(
        changes: dict[str, typing.Any], word: str,
        verdict: checks.Verdict) -> None:
    found, = judge(**changes)['quirks']
    assert word in found.detail
    assert found.verdict is verdict


def test_a_workaround_that_is_set_is_not_advised_again() -> None:
    intel = {'device': answer(0x20, 1, 2, 3, 2, 0x8f, 0x57, 1, 0, 1, 0)}
    words = ('alerts-deferred', 'skip-sequence')
    spec = dataclasses.replace(SPEC, workarounds=words)
    found = judge(spec=spec, **intel)
    assert found['quirks'][0].detail == 'none that shows'
    assert found['workarounds'][0].detail == f'set: {", ".join(words)}'


def test_all_words_that_are_advised_exist() -> None:
    for _, words in bmc._MAKERS.values():
        assert set(words) <= set(console_spec.WORKAROUNDS)


@pytest.mark.parametrize('reason', list(exception.Reason))
def test_a_login_that_fails_has_one_error_with_advice(
        reason: exception.Reason) -> None:
    found = bmc.judge_failure(SPEC, exception.LinkError(reason, 'no'))
    errors = [each for each in found if each.verdict is ERROR]
    assert len(errors) == 1
    assert errors[0].advice == exception.ADVICE[reason]
    reached = [each.verdict for each in found
               if each.check == 'reachability']
    assert reached == [ERROR if reason is exception.Reason.UNREACHABLE
                       else OK]


@given(st.builds(
    messages.Answer, st.sampled_from([0, 0xc1, 0xff]),
    st.binary(max_size=20)))
def test_no_answer_of_a_bmc_breaks_it(said: messages.Answer) -> None:
    judge(device=said, own=said, status=said, instance=said, access=said,
          parameters=dict.fromkeys((1, 2, 8), said))
