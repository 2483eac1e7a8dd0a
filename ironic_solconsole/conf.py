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

"""The ``[solconsole]`` options.

Only the conductor and the command line read them. A bridge is given plain
values over its control channel and reads no configuration.
"""

import ipaddress

from oslo_config import cfg
from oslo_config import types

from ironic_solconsole import exception

GROUP = 'solconsole'

#: A port range where neither [solconsole] nor [console] gives one.
DEFAULT_PORT_RANGE = range(10000, 20000)


def parse_port_ranges(text: str) -> list[range]:
    """Read ``START:END[,START:END...]``; END is exclusive, as in Ironic.

    :raises: PortError that says what is allowed.
    """
    ranges = []
    for part in text.split(','):
        start, colon, end = (word.strip() for word in part.partition(':'))
        if not (colon and start.isdecimal() and end.isdecimal()
                and 1 <= int(start) < int(end) <= 65536):
            raise exception.PortError(
                f'port_range: {part.strip()[:40]!r} is not START:END with '
                '1 <= START < END <= 65536 (END itself is not used)')
        ranges.append(range(int(start), int(end)))
    return ranges


def configured_ranges(solconsole: str | None,
                      console: object) -> list[range]:
    """The port ranges in force.

    :param solconsole: [solconsole]port_range, or None.
    :param console: [console]port_range: a list of range objects, text in
        older releases of Ironic, or None.
    :raises: PortError if there is no port in them.
    """
    if solconsole:
        return parse_port_ranges(solconsole)
    if not console:
        return [DEFAULT_PORT_RANGE]
    if isinstance(console, str):
        return parse_port_ranges(console)
    assert isinstance(console, (list, tuple))
    ranges = [range(max(1, part.start), part.stop) for part in console]
    if not any(ranges):
        raise exception.PortError(
            '[console]port_range has no port in it; END itself is not used')
    return ranges


class PortRanges(types.String):
    """oslo.config type of port_range; the value stays text."""

    def __init__(self) -> None:
        super().__init__(type_name='port ranges')

    def __call__(self, value: object) -> str:
        text = str(super().__call__(value))
        try:
            parse_port_ranges(text)
        except exception.PortError as error:
            raise ValueError(
                str(error).removeprefix('port_range: ')) from None
        return text


class Network(types.String):
    """oslo.config type of an IPv4 or IPv6 network; the value stays text."""

    def __init__(self) -> None:
        super().__init__(type_name='network')

    def __call__(self, value: object) -> str:
        text = str(super().__call__(value))
        ipaddress.ip_network(text)
        return text


OPTIONS = [
    cfg.StrOpt(
        'run_dir', default='$state_path/solconsole/run',
        help='Absolute path of the directory for the sockets that the '
             'ironic-solconsole command talks to, for locks between '
             'processes of this host, and for the journal of TCP ports. It '
             'is created with mode 0700. All conductors of a host should '
             'share one. A socket path has at most 107 bytes, so keep it '
             'short.'),
    cfg.FloatOpt(
        'start_wait', default=5.0, min=0.0, max=8.0,
        help='Seconds for which enabling a console that is off waits for '
             'the BMC, so that a wrong password or address is reported in '
             'the last_error of the node. It ends at the first clear '
             'answer, good or bad. Nova gives up after 10 seconds, so do '
             'not raise it much. 0 does not wait, and reports nothing.'),
    cfg.FloatOpt(
        'reset_grace', default=3.0, min=0.0, max=60.0,
        help='Seconds for which a console that was disabled through the '
             'API keeps its viewers and its session with the BMC, while no '
             'byte passes. Nova disables and enables the console each time '
             'that somebody opens it; enabled again within this time, it '
             'goes on where it was, and nobody is disconnected. Raise it '
             'where Nova is slow to enable it again; 0 closes it at once.'),
    cfg.StrOpt(
        'connection', default='persistent',
        choices=[('persistent', 'always'),
                 ('on-demand', 'while somebody is at the console')],
        help='When there is a session with the BMC. On demand nothing that '
             'the host prints while nobody is there is seen or kept: '
             'choose it where BMCs have few sessions, or where others use '
             'their consoles as well. Per node: '
             'driver_info["solconsole_connection"].'),
    cfg.FloatOpt(
        'linger', default=60.0, min=0.0, max=86400.0,
        help='Seconds for which a console on demand keeps its session with '
             'the BMC after its last viewer has left. Lower it where '
             'sessions are scarce; raise it where logins are slow.'),
    cfg.Opt(
        'port_range', type=PortRanges(), sample_default='10000:20000',
        help='TCP ports for consoles, as START:END or several of them '
             'separated by commas; END itself is not used, as in Ironic. '
             'Unset: [console]port_range, else 10000:20000. Give each '
             'conductor the same range, so that a console keeps its port '
             'when it moves, and keep the range out of '
             'net.ipv4.ip_local_port_range.'),
    cfg.IntOpt(
        'port_quarantine', default=900, min=0,
        help='Seconds for which a TCP port that served one node is given '
             'to no other. The token of nova-serialproxy names only host '
             'and port and lives for 600 seconds by default ([consoleauth]'
             'token_ttl in Nova): a port that changed hands earlier would '
             'show one tenant the console of another. Never set it below '
             'that lifetime.'),
    cfg.IntOpt(
        'bridges', default=1, min=1, max=8,
        help='Console processes that share the nodes of one conductor. '
             'One carries a thousand consoles on one CPU; more let busy '
             'consoles use more CPUs.'),
    cfg.IntOpt(
        'max_clients', default=8, min=1, max=256,
        help='TCP connections that one console accepts at a time. One more '
             'takes the place of the one that was idle longest, if that '
             'was more than 60 seconds; else it is told so and closed. '
             'Raise it where more people watch one console.'),
    cfg.IntOpt(
        'max_clients_per_address', default=0, min=0, max=256,
        help='TCP connections that one console accepts from one address at '
             'a time; 0 is any number. Set it where tenants connect '
             'directly; all that comes through one nova-serialproxy has '
             'the address of that.'),
    cfg.StrOpt(
        'client_mode', default='shared',
        choices=[('shared', 'whoever is at the console may type'),
                 ('exclusive', 'only who came first may, until it leaves')],
        help='Who may type. What the others type in exclusive mode is '
             'dropped, and they are told. Choose it where two people must '
             'not type into one shell.'),
    cfg.IntOpt(
        'client_buffer', default=256 * 1024, min=4096,
        max=64 * 1024 * 1024,
        help='Bytes of output held for one TCP connection that does not '
             'read. What does not fit is lost for that connection alone, '
             'and a line in its output says how many bytes. The connection '
             'itself takes a 64th of this and up to 32 KiB more. Raise it '
             'where viewers are on slow lines; lower it where memory is '
             'short.'),
    cfg.IntOpt(
        'scrollback', default=16 * 1024, min=0, max=1024 * 1024,
        help='Bytes of output that are kept for each console and shown to '
             'who comes later, from the beginning of a line; at most half '
             'of client_buffer is shown. Queries that a terminal would '
             'answer are left out, and all is erased when the node gets '
             'another instance. Up to twice as much memory is taken: lower '
             'it where memory is short. 0 keeps and shows nothing.'),
    cfg.BoolOpt(
        'notices', default=True,
        help='Whether the people at a console are told in its output what '
             'happens to it, on lines that begin with [solconsole:. Switch '
             'it off where programs read the output. What a slow connection '
             'has lost is told in any case.'),
    cfg.StrOpt(
        'notice_detail', default='brief',
        choices=[('brief', 'the state of the console alone'),
                 ('full', 'the reason in full, too')],
        help='How much notices tell. In full they name addresses and '
             'accounts of BMCs and who has a session there: choose that '
             'only where no tenant gets to a console.'),
    cfg.ListOpt(
        'allowed_clients', item_type=Network(), default=[],
        help='Networks from which consoles may be reached, such as those '
             'of nova-serialproxy, as 192.0.2.0/24,2001:db8::/64; empty: from '
             'everywhere. Set it wherever others can reach the ports: there '
             'is no password on them. Who comes from elsewhere is '
             'disconnected, and logged once a minute.'),
    cfg.StrOpt(
        'transcript_dir',
        help='Absolute path of a directory for transcripts: what each host '
             'has printed, and what happened at its console, in a file '
             'for each node. It is created with mode 0750, its files with '
             '0640. Unset: there are no transcripts. Set it where somebody '
             'will have to read what a host said before it died; what '
             'people type at a host that echoes it is in there as well, so '
             'choose who may read the directory.'),
    cfg.IntOpt(
        'transcript_max_bytes', default=4 * 1024 * 1024, min=0,
        help='Bytes after which the file of a node is renamed to end in .1, '
             'and a new one begun. Less than 65536 counts as that. 0 '
             'leaves it to logrotate or the like, whose new file is taken '
             'within 5 seconds; a new file for a new instance is begun in '
             'any case. Raise it where a boot does not fit in one file.'),
    cfg.IntOpt(
        'transcript_backups', default=4, min=0, max=1000,
        help='Older files, .1 and so on, that are kept for each node; all '
             'together take this number plus one, times '
             'transcript_max_bytes. With 0 the only one is removed when it '
             'is full. Raise it to look further back.'),
    cfg.IntOpt(
        'transcript_keep_days', default=30, min=0, max=36500,
        help='Days after which the transcripts of a node are removed that '
             'was deleted from Ironic; 0 keeps them for ever. They count '
             'from when a conductor that writes to the directory has found '
             'the node to be gone. Lower it where what people typed must '
             'not be kept for so long.'),
    cfg.IntOpt(
        'transcript_buffer', default=256 * 1024, min=16 * 1024,
        max=64 * 1024 * 1024,
        help='Bytes of output of one console that wait for a disk that is '
             'slow, full or away. What does not fit is lost for the '
             'transcript alone, and a mark in it says how many bytes. Raise '
             'it where the disk may be away for long, lower it where memory '
             'is short.'),
    cfg.IntOpt(
        'keepalive_interval', default=10, min=1, max=20,
        help='Seconds between two questions to a BMC whether the console '
             'is still ours. A BMC that is gone, or a console that '
             'somebody took, is noticed within two of them. BMCs end '
             'sessions that are idle for 30 to 60 seconds, so it cannot be '
             'long.'),
    cfg.IntOpt(
        'login_concurrency', default=64, min=1, max=1024,
        help='Logins to BMCs that one console process runs at a time, so '
             'that a conductor with a thousand consoles starts without a '
             'storm. Lower it where the management network or BMCs behind '
             'one gateway cannot take so many at once.'),
    cfg.StrOpt(
        'coordination_url',
        default='file://$state_path/solconsole/locks', secret=True,
        help='Where the locks are kept that let only one conductor hold '
             'the console of a node. file:///DIRECTORY is for all '
             'conductors of one host, which then must share the directory. '
             'Conductors on several hosts need redis://HOST:PORT, '
             'etcd3+http://HOST:PORT or zookeeper://HOST:PORT, the same '
             'one for all. Times in the URL are refused: lock_ttl is the '
             'one that counts.'),
    cfg.FloatOpt(
        'lock_ttl', default=30.0, min=3.0, max=3600.0,
        help='Seconds after which another conductor can have the console '
             'of a node whose conductor died or was cut off. ZooKeeper may '
             'grant less. Lower it to have consoles back sooner; raise it '
             'to let them outlast longer outages of the backend.'),
    cfg.FloatOpt(
        'lock_margin', default=5.0, min=0.5, max=1800.0,
        help='Seconds by which a conductor that cannot renew its locks '
             'closes its consoles before another one can have them. At '
             'most half of lock_ttl counts. Raise it where clocks of hosts '
             'run unevenly, as those of overloaded virtual machines do.'),
    cfg.FloatOpt(
        'lock_renew_interval', default=5.0, min=0.2, max=1200.0,
        help='Seconds between two renewals of the locks. At most a third '
             'of lock_ttl less lock_margin counts, so that two may fail. '
             'Raise it to put less load on the backend.'),
    cfg.FloatOpt(
        'takeover_interval', default=15.0, min=1.0, max=3600.0,
        help='Seconds between two looks for nodes whose console should be '
             'open on this conductor and is not, or has changed. A change '
             'of the hash ring causes one at once, so raise it where a '
             'look, which reads all nodes of the conductor, is too much for '
             'the database.'),
    cfg.FloatOpt(
        'untakeover_interval', default=15.0, min=1.0, max=3600.0,
        help='Seconds between two looks for consoles that are open on this '
             'conductor and should not be, and for console processes that '
             'were left behind. A change of the hash ring causes one at '
             'once; raise it for the same reason as takeover_interval.'),
]


def allowed(option: cfg.Opt) -> str:
    """What the value of an option may be, to follow "must be"."""
    kind = option.type
    if isinstance(kind, types.Boolean):
        return 'true or false'
    if isinstance(kind, (types.Integer, types.Float)):
        whole = 'whole ' if isinstance(kind, types.Integer) else ''
        limits = f'from {kind.min:g} to {kind.max:g}' if (
            kind.max is not None) else f'of {kind.min:g} or more'
        return f'a {whole}number {limits}'
    if isinstance(kind, PortRanges):
        return 'one START:END or several, separated by commas'
    if isinstance(kind, types.List):
        return 'networks separated by commas'
    if isinstance(kind, types.String) and kind.choices:
        return f'one of {", ".join(kind.choices)}'
    return 'text'


def problem(configuration: cfg.ConfigOpts, option: cfg.Opt) -> str:
    """Why the value of an option of ours cannot be used, or ''.

    :returns: what is allowed and what is wrong, to follow the name of the
        option; never a secret.
    """
    try:
        getattr(configuration[GROUP], option.dest)
    except (cfg.NoSuchOptError, cfg.TemplateSubstitutionError):
        # what follows the $ may be part of a password
        return (': a $ stands in front of the name of an option; elsewhere '
                'it is written $$')
    except (cfg.Error, ValueError) as error:
        return f' must be {allowed(option)}: {reason(error)}'
    return ''


def reason(error: Exception) -> str:
    """What oslo.config says of a value, without the option's name."""
    return str(error).rpartition(' is not valid: ')[2].rstrip('.')


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the ``[solconsole]`` options with a ConfigOpts."""
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """What oslo-config-generator writes to the sample configuration."""
    return [(GROUP, OPTIONS)]
