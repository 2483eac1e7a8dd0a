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

"""The options, as the conductor reads them, and what is wrong with them."""

import dataclasses
import pathlib
import socket
import tempfile
import typing

from oslo_config import cfg
from oslo_utils import netutils

from ironic_solconsole import conf as solconsole_conf
from ironic_solconsole import coordination
from ironic_solconsole import exception
from ironic_solconsole.cli import checks

#: The options of Ironic that count here, with Ironic's own types and
#: defaults. [console]port_range is text in older releases, and several
#: ranges in later ones.
IRONIC_OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt('host', default=socket.getfqdn()),
        cfg.StrOpt('my_ip', default=netutils.get_my_ipv4()),
        cfg.StrOpt('tempdir', default=tempfile.gettempdir()),
        cfg.ListOpt('enabled_hardware_types', default=['ipmi', 'redfish']),
        cfg.ListOpt('enabled_console_interfaces', default=['no-console']),
        cfg.StrOpt('default_console_interface')],
    'console': [
        cfg.StrOpt('terminal_pid_dir'),
        cfg.IntOpt('terminal_timeout', default=600, min=0),
        cfg.IPOpt('socat_address', default='$my_ip'),
        cfg.StrOpt('port_range')],
    'conductor': [
        cfg.IntOpt('heartbeat_timeout', default=60, max=315576000)],
}

#: Seconds for which Nova's tokens live by default.
_TOKEN_TTL = 600


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options that the other checks need; None where one is wrong."""

    host: str | None
    state_path: pathlib.Path
    run_dir: pathlib.Path | None
    bridges: int | None
    coordination: coordination.Coordination | None
    transcript_dir: pathlib.Path | None
    pid_dir: pathlib.Path | None
    port_ranges: list[range] | None
    socat_address: str | None
    hardware_types: list[str] | None
    console_interfaces: list[str] | None
    default_console_interface: str | None
    connection: str | None


class _Reader:
    """Takes values, and remembers what is wrong with them."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self.findings: list[checks.Finding] = []
        self.read = 0

    def get(self, group: str, option: cfg.Opt) -> typing.Any:
        """A value, or None if it is not valid."""
        where = self._conf if group == 'DEFAULT' else self._conf[group]
        self.read += 1
        problem = ''
        if group == solconsole_conf.GROUP:
            problem = solconsole_conf.problem(
                self._conf, option).lstrip(': ')
        try:
            if not problem:
                return getattr(where, option.dest)
        except (cfg.Error, ValueError) as error:
            problem = solconsole_conf.reason(error)
        self.complain(group, option.dest, problem)
        return None

    def complain(self, group: str, name: str, problem: str) -> None:
        self.findings.append(checks.error(
            f'option [{group}]{name}', problem,
            'correct it in the configuration of the conductor'))

    def complain_softly(self, group: str, name: str, problem: str,
                        advice: str) -> None:
        self.findings.append(checks.warning(
            f'option [{group}]{name}', problem, advice))


def read(conf: cfg.ConfigOpts) -> tuple[Settings, list[checks.Finding]]:
    """Take every option that counts.

    :param conf: with [solconsole] and IRONIC_OPTIONS.
    """
    reader = _Reader(conf)
    values = {(group, option.dest): reader.get(group, option)
              for group, options in {
                  **IRONIC_OPTIONS,
                  solconsole_conf.GROUP: solconsole_conf.OPTIONS}.items()
              for option in options}
    own = {name: value for (group, name), value in values.items()
           if group == solconsole_conf.GROUP}
    ranges = _port_ranges(reader, own['port_range'],
                          values['console', 'port_range'])
    locks = _coordination(reader, own)
    _doubts(reader, own)
    pid_dir = (values['console', 'terminal_pid_dir']
               or values['DEFAULT', 'tempdir'])
    settings = Settings(
        host=values['DEFAULT', 'host'],
        state_path=pathlib.Path(conf.state_path),
        run_dir=_path(own['run_dir']), bridges=own['bridges'],
        coordination=locks, transcript_dir=_path(own.get('transcript_dir')),
        pid_dir=_path(pid_dir), port_ranges=ranges,
        socat_address=_text(values['console', 'socat_address']),
        hardware_types=values['DEFAULT', 'enabled_hardware_types'],
        console_interfaces=values['DEFAULT', 'enabled_console_interfaces'],
        default_console_interface=values[
            'DEFAULT', 'default_console_interface'],
        connection=own['connection'])
    findings = [*reader.findings, *_unknown(conf)]
    if not findings:
        findings = [checks.ok(
            'options', f'all {len(solconsole_conf.OPTIONS)} of [solconsole] '
            f'and {reader.read - len(solconsole_conf.OPTIONS)} of Ironic '
            'that count here are valid')]
    return settings, findings


def _path(value: str | None) -> pathlib.Path | None:
    return pathlib.Path(value) if value else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _port_ranges(reader: _Reader, own: str | None,
                 console: str | None) -> list[range] | None:
    try:
        return solconsole_conf.configured_ranges(
            own, _console_ranges(console) if console else None)
    except (ValueError, exception.PortError) as error:
        reader.complain('console', 'port_range', str(error))
        return None


def _console_ranges(text: str) -> list[range]:
    """What later releases of Ironic make of [console]port_range.

    :raises: ValueError
    """
    ranges = []
    for part in text.split(','):
        words = part.strip().split(':')
        if not (len(words) == 2 and all(word.isdecimal() for word in words)
                and int(words[0]) <= int(words[1]) <= 65535):
            raise ValueError(
                f'{part.strip()[:40]!r} is not START:END with START <= END '
                '<= 65535 (END itself is not used)')
        ranges.append(range(int(words[0]), int(words[1])))
    return ranges


def _coordination(reader: _Reader, own: dict[str, typing.Any]
                  ) -> coordination.Coordination | None:
    names = ('coordination_url', 'lock_ttl', 'lock_margin',
             'lock_renew_interval')
    if any(own[name] is None for name in names):
        return None
    try:
        return coordination.Coordination(*(own[name] for name in names))
    except exception.CoordinationError as error:
        reader.complain(solconsole_conf.GROUP, 'coordination_url', str(error))
        return None


def _doubts(reader: _Reader, own: dict[str, typing.Any]) -> None:
    """What is allowed, and is hardly meant."""
    group = solconsole_conf.GROUP
    quarantine, ttl, margin = (
        own['port_quarantine'], own['lock_ttl'], own['lock_margin'])
    if quarantine is not None and quarantine < _TOKEN_TTL:
        reader.complain_softly(
            group, 'port_quarantine', f'{quarantine} s is less than tokens '
            f"of Nova live by default ({_TOKEN_TTL} s): one tenant's token "
            "may lead to another's console",
            'set it to [consoleauth]token_ttl of Nova at least')
    if None not in (ttl, margin) and margin > ttl * coordination.MAX_MARGIN:
        reader.complain_softly(
            group, 'lock_margin', f'{margin:g} s is more than half of '
            f'lock_ttl; {ttl * coordination.MAX_MARGIN:g} s is what counts',
            'raise lock_ttl, or lower lock_margin')


def _unknown(conf: cfg.ConfigOpts) -> list[checks.Finding]:
    """Options of our group in the files that do not exist."""
    known = {name for option in solconsole_conf.OPTIONS for name in (
        option.name, option.dest)}
    found: dict[str, str] = {}
    for path in _files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(path, sections).parse()
        except (cfg.Error, OSError, ValueError):
            continue        # what cannot be read was said at first
        for name in sections.get(solconsole_conf.GROUP, {}):
            if name not in known:
                found.setdefault(name, path)
    return [checks.warning(
        f'option [{solconsole_conf.GROUP}]{name}',
        f'there is no such option; it stands in {path}',
        'look for a slip of the pen') for name, path in found.items()]


def _files(conf: cfg.ConfigOpts) -> list[str]:
    files = list(conf.config_file or [])
    for directory in conf.config_dir or []:
        files += [str(path) for path in sorted(
            pathlib.Path(directory).glob('*.conf'))]
    return files


def files_read(conf: cfg.ConfigOpts) -> checks.Finding:
    """Which files the options come from."""
    files = _files(conf)
    if files:
        return checks.ok('configuration', f'read from {", ".join(files)}')
    return checks.warning(
        'configuration', 'no configuration file of Ironic was found; these '
        'are the defaults', 'give --config-file, as ironic-conductor has it')


def judge_interfaces(enabled: list[str] | None) -> checks.Finding:
    """Whether Ironic is told to load the interface."""
    name = 'enabled_console_interfaces'
    if enabled is None:
        return checks.skipped(name, 'the option is not valid')
    if 'solconsole' not in enabled:
        return checks.error(
            name, f'solconsole is not among them: {", ".join(enabled)}',
            'add it: [DEFAULT]enabled_console_interfaces = '
            f'{",".join(["solconsole", *enabled])}')
    return checks.ok(name, ', '.join(enabled))
