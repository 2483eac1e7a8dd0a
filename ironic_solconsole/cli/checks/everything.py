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

"""All the checks, one after another."""

import argparse
import collections.abc
import contextlib
import os
import pathlib
import resource

from oslo_config import cfg

from ironic_solconsole import spec as console_spec
from ironic_solconsole.cli import bridges
from ironic_solconsole.cli import checks
from ironic_solconsole.cli import config
from ironic_solconsole.cli.checks import backend
from ironic_solconsole.cli.checks import directories
from ironic_solconsole.cli.checks import hardware
from ironic_solconsole.cli.checks import network
from ironic_solconsole.cli.checks import node_file
from ironic_solconsole.cli.checks import packages
from ironic_solconsole.cli.checks import processes
from ironic_solconsole.cli.checks import settings as check_settings

_Findings = collections.abc.Iterator[checks.Finding]


def run(options: argparse.Namespace, node_info: str | None) -> _Findings:
    """Look at this host, and at the BMC of a node.

    :param options: the global ones of the command line.
    :param node_info: path of a file about the node, '-' for stdin, or None.
    """
    try:
        conf = config.load(options.config_file, options.config_dir,
                           check_settings.IRONIC_OPTIONS)
    except cfg.Error as error:
        yield checks.error(
            'configuration', f"Ironic's configuration cannot be read: "
            f'{" ".join(str(error).split())}',
            'run this as root or as the user that ironic-conductor runs as, '
            'or give --config-file')
        yield from packages.check(None)
        yield from _node(node_info, None, 'persistent')
        return
    yield check_settings.files_read(conf)
    found, complaints = check_settings.read(conf)
    yield from complaints
    run_dir = (pathlib.Path(options.run_dir) if options.run_dir
               else found.run_dir)
    yield from _host(found, run_dir)
    yield from _node(node_info, run_dir, found.connection or 'persistent')


def _host(found: check_settings.Settings,
          run_dir: pathlib.Path | None) -> _Findings:
    """All that is looked at on this host."""
    running = processes.find()
    who = _conductor(running, found)
    yield processes.judge_account(who, os.geteuid())
    yield from packages.check(
        found.coordination.backend if found.coordination else None)
    yield check_settings.judge_interfaces(found.console_interfaces)
    yield from hardware.check(
        found.hardware_types, found.console_interfaces,
        found.default_console_interface, who)
    yield from _guarded('directories', _directories(found, run_dir, who))
    yield from backend.check(found.coordination, who)
    yield from _guarded('ports', _ports(found, running))
    yield from processes.judge_limits(
        running, found.coordination is None
        or found.coordination.backend == 'file',
        resource.getrlimit(resource.RLIMIT_NOFILE))


def _guarded(name: str, findings: _Findings) -> _Findings:
    """What cannot be looked at, for a reason that nobody foresaw (a NUL in
    a path, an I/O error), must not hide the rest."""
    try:
        yield from findings
    except (OSError, ValueError) as error:
        yield checks.error(name, f'{type(error).__name__}: {error}',
                           'correct the option or the file system')


def _conductor(running: list[processes.Process],
               found: check_settings.Settings) -> processes.Account:
    try:
        owner = found.state_path.stat().st_uid
    except OSError:
        owner = None
    uid, why = processes.conductor_account(
        running, found.host or '', os.geteuid(), owner)
    return processes.account(uid, why)


def _directories(found: check_settings.Settings,
                 run_dir: pathlib.Path | None,
                 who: processes.Account) -> _Findings:
    if run_dir is None:
        yield checks.skipped('run_dir', 'the option is not valid')
    else:
        yield directories.judge(
            'run_dir', run_dir, directories.look(run_dir), who,
            private=0o077, option='[solconsole]run_dir')
        if found.host is not None and found.bridges is not None:
            yield directories.judge_socket_path(
                run_dir, found.host, found.bridges)
    if (found.coordination is not None
            and found.coordination.backend == 'file'):
        yield from _lock_directory(pathlib.Path(
            found.coordination.url.removeprefix('file://').partition(
                '?')[0]), who)
    if found.transcript_dir is not None:
        yield directories.judge(
            'transcript_dir', found.transcript_dir,
            directories.look(found.transcript_dir, follow=True), who,
            private=0o007, option='[solconsole]transcript_dir')
    if found.pid_dir is not None:
        yield directories.judge_pid_dir(
            found.pid_dir, directories.look(found.pid_dir, follow=True), who)


def _lock_directory(path: pathlib.Path,
                    who: processes.Account) -> _Findings:
    looked = directories.look(path, follow=True)
    yield directories.judge(
        'lock directory', path, looked, who, private=0o077,
        option='[solconsole]coordination_url')
    place = path if looked.parent is None else looked.parent[0]
    try:
        mounts = pathlib.Path('/proc/self/mounts').read_text(
            errors='replace')
    except OSError:
        mounts = ''
    doubt = directories.judge_lock_place(
        path, directories.filesystem(place.resolve(), mounts))
    if doubt is not None:
        yield doubt


def _ports(found: check_settings.Settings,
           running: list[processes.Process]) -> _Findings:
    if found.port_ranges is None:
        yield checks.skipped('ports', 'port_range is not valid')
    else:
        bridge_pids = {process.pid for process in running
                       if process.role == 'bridge'}
        yield network.judge_ports(found.port_ranges, network.listeners(
            bridge_pids, found.port_ranges))
        yield network.check_ephemeral(found.port_ranges)
    if found.socat_address is None:
        yield checks.skipped('socat_address', 'the option is not valid')
    else:
        yield network.check_address(found.socat_address)


def _node(path: str | None, run_dir: pathlib.Path | None,
          connection: str) -> _Findings:
    """What a login to the BMC of a node shows."""
    if path is None:
        return
    # Only here: it loads pyghmi.
    from ironic_solconsole.cli.checks import bmc
    try:
        file = node_file.read(path)
        spec = file.to_spec(connection)
    except node_file.NodeFileError as error:
        yield checks.error('node-info', str(error), error.advice)
        return
    yield node_file.judge_mode(file, path)
    yield from bmc.check(spec, _sessions(run_dir, spec))


def _sessions(run_dir: pathlib.Path | None,
              spec: console_spec.ConsoleSpec) -> dict[int, str]:
    """Sessions that console processes of this host have with a BMC."""
    if run_dir is None:
        return {}
    try:
        sockets = bridges.find_sockets(run_dir)
    except OSError:
        return {}
    found = {}
    for answer in bridges.ask_all(sockets.paths, 'list', timeout=2.0):
        for status in (answer.result or {}).get('consoles') or ():
            with contextlib.suppress(ValueError, TypeError):
                if status.get('bmc') == spec.bmc and status.get('session'):
                    found[int(status['session'], 16)] = str(answer.path)
    return found
