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

"""pyghmi's private names, as sol/login.py relies on them.

A release of pyghmi that renames, drops or changes one of them fails here,
with the name, and not at night in front of a BMC.
"""

import ast
import asyncio
import inspect
import pathlib

from pyghmi.ipmi.private import session as pyghmi_session
import pytest

from ironic_solconsole.sol import login as sol_login
from ironic_solconsole.sol import target as sol_target

#: What Login replaces, with the parameters pyghmi passes.
OVERRIDDEN = {
    '_initsession': ['self'],
    '_xmit_packet': ['self', 'retry', 'delay_xmit', 'timeout'],
    '_timedout': ['self'],
    '_parse_payload': ['self', 'payload'],
    '_got_channel_auth_cap': ['self', 'response'],
    '_open_rmcpplus_request': ['self'],
    '_got_rmcp_response': ['self', 'data'],
    '_got_rakp2': ['self', 'data'],
    '_got_rakp4': ['self', 'data'],
    '_req_priv_level': ['self'],
    'onlogon': ['self', 'parameter'],
    'logout': ['self', 'sessionok'],
    '_mark_broken': ['self', 'error'],
}

#: What Login calls.
CALLED = {
    'send_payload': [
        'self', 'payload', 'payload_type', 'retry', 'delay_xmit',
        'needskeepalive', 'timeout'],
    '_get_channel_auth_cap': ['self'],
    '_handle_ipmi_packet': ['self', 'data', 'sockaddr', 'qent'],
}


@pytest.mark.parametrize('name', sorted(OVERRIDDEN | CALLED))
def test_pyghmi_session_still_has(name):
    function = getattr(pyghmi_session.Session, name, None)
    assert function is not None, (
        f'pyghmi no longer has Session.{name}: sol/login.py must follow')
    expected = (OVERRIDDEN | CALLED)[name]
    assert list(inspect.signature(function).parameters) == expected, (
        f'pyghmi changed the parameters of Session.{name}')


def test_every_override_is_listed_here():
    replaced = {
        name for name, value in vars(sol_login.Login).items()
        if inspect.isfunction(value)
        and hasattr(pyghmi_session.Session, name)
        and name not in ('__init__', '__new__')}
    assert replaced == set(OVERRIDDEN)


def test_pyghmi_sets_no_attribute_in_init_that_we_do_not():
    """Login does not run pyghmi's __init__: what that sets, we must.

    Those below are of parts of pyghmi that are not used here.
    """
    unused = {
        'initialized', 'awaitingresponse', 'lastresponse', 'atomicop',
        'socket', 'logged', 'logoutexpiry', 'autokeepalive', 'cleaningup',
        '_customkeepalives', 'pktqueue', 'async_', 'logonwaiters',
        'socketchecking'}
    tree = ast.parse(inspect.getsource(pyghmi_session).encode())
    classes = [node for node in tree.body
               if isinstance(node, ast.ClassDef) and node.name == 'Session']
    init = next(node for node in classes[0].body
                if isinstance(node, ast.FunctionDef)
                and node.name == '__init__')
    theirs = {
        node.attr for node in ast.walk(init)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)}

    async def ours():
        login = sol_login.Login(
            sol_target.Target('127.0.0.1', 623, b'', b'', None, 4, (3,)),
            asyncio.get_running_loop(), lambda packet: None,
            lambda error: None)
        return set(vars(login))

    missing = theirs - unused - asyncio.run(ours())
    assert not missing, (
        f'pyghmi\'s Session.__init__ now sets {sorted(missing)}')


def test_pyghmi_is_driven_without_its_threads_and_sockets():
    async def build():
        sol_login.Login(
            sol_target.Target('127.0.0.1', 623, b'a', b'b', None, 4, (3,)),
            asyncio.get_running_loop(), packets.append,
            lambda error: None).begin()

    packets = []
    asyncio.run(build())
    assert len(packets) == 1
    # RMCP, IPMI 1.5 outside a session, Get Channel Authentication
    # Capabilities for IPMI 2.0 (IPMI v2.0 section 22.13).
    assert packets[0][:5] == b'\x06\x00\xff\x07\x00'
    assert packets[0][14 + 5:14 + 8] == b'\x38\x8e\x04'
    assert pyghmi_session.iothread is None
    assert pyghmi_session.iosockets == []
    assert pyghmi_session.Session.waiting_sessions == {}
    assert pyghmi_session.Session.bmc_handlers == {}


def test_no_other_file_names_private_parts_of_pyghmi():
    package = pathlib.Path(sol_login.__file__).parents[1]
    naming = {
        path.relative_to(package).as_posix()
        for path in package.rglob('*.py')
        if 'pyghmi.ipmi.private' in path.read_text()}
    assert naming == {'sol/login.py'}
