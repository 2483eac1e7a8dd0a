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

"""What a BMC of ours is to be like.

Everything may be changed while it runs: each value is read when it is
needed.
"""

import collections
import collections.abc
import dataclasses
import enum

from tests.support.bmc import codes

#: Answers a command in the place of the BMC: a completion code, or a whole
#: answer (completion code first), or None for silence.
Override = int | bytes | None


@dataclasses.dataclass(frozen=True)
class User:
    """An account on a BMC.

    :param privilege: 'callback', 'user', 'operator' or 'admin': the most
        that it may be.
    :param sol: whether it may activate SOL.
    """

    number: int
    name: str
    password: str
    privilege: str = 'admin'
    sol: bool = True

    @property
    def level(self) -> codes.Level:
        """The privilege as a number."""
        return codes.Level[self.privilege.upper()]

    @property
    def name_bytes(self) -> bytes:
        """The name as it is on the wire."""
        return self.name.encode()

    @property
    def key(self) -> bytes:
        """K of the user: the password, filled up, section 13.31."""
        return self.password.encode().ljust(20, b'\0')


ADMIN = User(2, 'admin', 'secret')
SECOND = User(5, 'second', 'secret5')
OPERATOR = User(6, 'operator', 'secret6', 'operator')
PLAIN = User(7, 'plain', 'secret7', 'user')
NO_SOL = User(8, 'nosol', 'secret8', sol=False)
USERS = (User(1, '', 'test', 'user'), ADMIN, SECOND, OPERATOR, PLAIN, NO_SOL)


class Port(enum.Enum):
    """UDP port in the answer to Activate Payload."""

    SESSION = 'the one the session is on'
    SWAPPED = 'the one the session is on, most significant byte first'
    SECOND = 'a second port of this BMC, which serves sessions as well'


class Oversize(enum.Enum):
    """What happens to a SOL packet with more than the BMC takes."""

    PARTIAL = 'what fits is taken, and the rest is not accepted'
    NACK = 'nothing is taken, and it is refused'
    DROP = 'it is dropped with no answer'


class Farewell(enum.Enum):
    """How the holder hears that somebody else has ended its activation."""

    FLAG = 'a packet with the deactivated bit that wants no answer'
    FLAG_WITH_ACK = 'the same, which also acknowledges the last packet again'
    FLAG_WITH_NUMBER = 'the same, with a number, sent again until answered'
    ACTIVATING = 'the SOL Activating command, as OpenBMC does'
    SILENT = 'not at all, as ipmi_sim does'


class GiveUp(enum.Enum):
    """What happens when a SOL packet is not acknowledged after all tries."""

    DROP = 'its characters are lost; the next packet tells of an overrun'
    KEEP = 'its characters go out again under the next number'
    DEACTIVATE = 'the activation ends'


class Encryption(enum.Enum):
    """What the BMC says to "activate with encryption"."""

    OPTIONAL = 'as the console likes'
    REQUIRED = 'without it: completion code 84h'
    REFUSED = 'with it: completion code 83h'


class Refusal(enum.Enum):
    """How a login is refused."""

    STATUS = 'with the status code of table 13-15 that fits'
    SILENT = 'with no answer'


class RoleRefusal(enum.Enum):
    """How a privilege above the user's limit is refused."""

    UNAUTHORIZED = 'RAKP 2 with status 0Ah'
    INVALID = 'RAKP 2 with status 09h'
    COMMAND = 'after the login, by Set Session Privilege Level with 81h'


class Locked(enum.Enum):
    """How a locked account looks."""

    BAD_PASSWORD = 'like a bad password: RAKP 4 with status 0Fh'
    UNKNOWN = 'like an unknown user: RAKP 2 with status 0Dh'
    SILENT = 'RAKP 1 is not answered'


class Unknown(enum.Enum):
    """Get Session Info for a session that does not exist."""

    SHORT = 'three bytes: no handle, slots, sessions in use'
    NOT_PRESENT = 'completion code CBh, as OpenBMC does'
    INVALID = 'completion code CCh'


@dataclasses.dataclass(frozen=True)
class Reply:
    """How one packet from the console is answered.

    :param takes: characters accepted at most; None is what fits.
    :param nack: refuse what was not accepted.
    :param silent: take it, and do not acknowledge.
    """

    takes: int | None = None
    nack: bool = False
    silent: bool = False


@dataclasses.dataclass(kw_only=True)
class SolOptions:
    """Serial over LAN.

    :param enabled: else Activate Payload answers 81h.
    :param openbmc: the packet rules of OpenBMC's phosphor-net-ipmid in the
        place of the standard's.
    :param capacity: what Get Payload Activation Status reports; there is
        one instance whatever it says.
    :param inbound_size: payload size towards the BMC, as it reports it.
    :param outbound_size: payload size from the BMC, as it reports it.
    :param takes: characters it really takes from a packet; None is what
        inbound_size says.
    :param sends: characters it really sends in a packet; None is what
        outbound_size says.
    :param oversize: what becomes of a packet with more than it takes.
    :param port: the UDP port that it reports; an int is reported as it
        is, and nothing is there.
    :param level: least privilege that may activate.
    :param encryption: see Encryption.
    :param handshake: honour the "startup handshake" bit: stay silent until
        the console's first packet. Few BMCs do.
    :param early: the host's output goes out before the answer to Activate
        Payload.
    :param first_sequence: number of the first packet from the BMC.
    :param retry_interval: seconds until a packet is sent again.
    :param retry_count: how often it is sent again, 0 to 7 in the standard.
    :param retries_grow: a packet sent again takes up what the host has
        written meanwhile.
    :param give_up: what follows when no try was acknowledged.
    :param accumulate: seconds for which characters are collected, unless a
        packet is full.
    :param piggyback: acknowledgments ride on data where there is some.
    :param resume_notice: a BMC that refused a packet, as the host took no
        more, tells when the host takes some again.
    :param power_notice: it tells when the serial port becomes unavailable
        and available.
    :param farewell: see Farewell.
    :param refuses_after: a packet that comes when the activation has ended
        is refused with the deactivated bit; else it is not answered.
    :param keep_detached: what the host writes while nobody is attached is
        kept for who comes next, up to ``buffer``.
    :param buffer: bytes of the host's output that the BMC holds.
    :param flow_control: a full buffer stops the host; else it overruns.
    :param rate: characters a second from the host; 0 is no limit.
    :param replies: how the next new packets from the console are answered;
        used up one by one. Not with the rules of OpenBMC.
    """

    enabled: bool = True
    openbmc: bool = False
    capacity: int = 1
    inbound_size: int = 128
    outbound_size: int = 128
    takes: int | None = None
    sends: int | None = None
    oversize: Oversize = Oversize.PARTIAL
    port: Port | int = Port.SESSION
    level: codes.Level = codes.Level.USER
    encryption: Encryption = Encryption.OPTIONAL
    handshake: bool = False
    early: bool = False
    first_sequence: int = 1
    retry_interval: float = 0.1
    retry_count: int = 7
    retries_grow: bool = False
    give_up: GiveUp = GiveUp.DROP
    accumulate: float = 0.0
    piggyback: bool = False
    resume_notice: bool = True
    power_notice: bool = True
    farewell: Farewell = Farewell.FLAG
    refuses_after: bool = False
    keep_detached: bool = False
    buffer: int = 64 * 1024
    flow_control: bool = True
    rate: float = 0.0
    replies: collections.deque[Reply] = dataclasses.field(
        default_factory=collections.deque)

    @property
    def most_in(self) -> int:
        """Characters it takes from one packet."""
        size = (self.inbound_size - codes.SOL_HEADER if self.takes is None
                else self.takes)
        return max(1, min(size, codes.MAX_CHARACTERS))

    @property
    def most_out(self) -> int:
        """Characters it sends in one packet."""
        size = (self.outbound_size - codes.SOL_HEADER if self.sends is None
                else self.sends)
        return max(1, min(size, codes.MAX_CHARACTERS))


@dataclasses.dataclass(kw_only=True)
class BmcOptions:
    """A BMC.

    :param address: local address to bind.
    :param port: UDP port; 0 is any free one.
    :param second_port: another UDP port, for Port.SECOND; 0 is any.
    :param name: in error messages; seeds what is random.
    :param users: its accounts.
    :param kg: the key Kg; b'' is none.
    :param suites: numbers of the cipher suites it supports.
    :param ipmi_2_0: False: it says that it knows IPMI 1.5 only.
    :param slots: sessions at a time.
    :param session_timeout: seconds without a packet after which a session
        ends (60 in section 6.12.15).
    :param sol_keeps_alive: SOL packets count for that; not on ipmi_sim.
    :param setup_timeout: seconds for a login from Open Session to RAKP 3.
    :param abandoned_after: seconds without RAKP 3 after which a login
        counts as failed.
    :param unknown_user: how a wrong name is refused.
    :param bad_password: how a wrong password is refused.
    :param role_refusal: how too high a privilege is refused.
    :param repeats_login: RAKP 1 and 3 that come again are answered again;
        else they are ignored.
    :param lockout_after: bad logins in a row that lock an account; 0 never
        does.
    :param lockout_seconds: for how long.
    :param lockout: how a locked account looks.
    :param window_ahead: how far a session sequence number may be ahead of
        the highest seen, section 6.12.13; more is dropped.
    :param window_behind: how far behind.
    :param tells_address: Get Session Info has address, MAC and port of the
        console; not on ipmi_sim.
    :param unknown_session: Get Session Info for one that is not.
    :param mac: reported for every console.
    :param overrides: commands answered with something else; the key is
        (network function, command).
    """

    address: str = '127.0.0.1'
    port: int = 0
    second_port: int = 0
    name: str = 'bmc'
    users: collections.abc.Sequence[User] = USERS
    kg: bytes = b''
    suites: collections.abc.Sequence[int] = (3, 17)
    ipmi_2_0: bool = True
    slots: int = 8
    session_timeout: float = 60.0
    sol_keeps_alive: bool = True
    setup_timeout: float = 10.0
    abandoned_after: float = 0.5
    unknown_user: Refusal = Refusal.STATUS
    bad_password: Refusal = Refusal.STATUS
    role_refusal: RoleRefusal = RoleRefusal.UNAUTHORIZED
    repeats_login: bool = False
    lockout_after: int = 0
    lockout_seconds: float = 60.0
    lockout: Locked = Locked.BAD_PASSWORD
    window_ahead: int = 15
    window_behind: int = 16
    tells_address: bool = True
    unknown_session: Unknown = Unknown.SHORT
    mac: bytes = b'\x02\x00\x5e\x10\x00\x01'
    overrides: dict[tuple[int, int], Override] = dataclasses.field(
        default_factory=dict)
    sol: SolOptions = dataclasses.field(default_factory=SolOptions)


def openbmc(**changes: object) -> BmcOptions:
    """OpenBMC: one instance, 255 characters both ways, its packet rules,
    encryption required, and its own word at a deactivation.

    :param changes: other options of BmcOptions.
    """
    options = BmcOptions(
        slots=15, unknown_session=Unknown.NOT_PRESENT,
        sol=SolOptions(
            openbmc=True, inbound_size=255, outbound_size=255, takes=255,
            sends=255, encryption=Encryption.REQUIRED,
            level=codes.Level.ADMIN, piggyback=True,
            farewell=Farewell.ACTIVATING, keep_detached=True))
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def ipmi_sim(**changes: object) -> BmcOptions:
    """What FACTS say of OpenIPMI's simulator, with both suites.

    :param changes: other options of BmcOptions.
    """
    options = BmcOptions(
        tells_address=False, session_timeout=30.0, sol_keeps_alive=False,
        sol=SolOptions(takes=32, farewell=Farewell.SILENT))
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]
