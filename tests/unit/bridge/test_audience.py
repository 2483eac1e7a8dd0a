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

"""The people at one console: output, input, notices, limits."""

import asyncio
import collections.abc
import inspect
import itertools
import re
import typing

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
import pytest

from ironic_solconsole.bridge import access
from ironic_solconsole.bridge import audience as bridge_audience
from ironic_solconsole.bridge import listener
from ironic_solconsole.bridge import notices
from ironic_solconsole.bridge import operators
from ironic_solconsole.bridge import terminal
from tests.support import virtual_time
from tests.unit.bridge import test_terminal

LIMIT = 4096
MARK = re.compile(rb'\r\n\[solconsole: ([0-9]+) bytes lost\]\r\n')
DOWN = notices.Standing('down')
HELD = notices.Standing('held')


class Transport(asyncio.Transport):
    """A connection whose peer reads when it is told to.

    :param room: bytes that the kernel takes; None is any number.
    """

    def __init__(self, address: str = '192.0.2.1',
                 room: int | None = None) -> None:
        super().__init__({'peername': (address, 4711)})
        self.protocol: listener.Viewer | None = None
        self.room = room
        self.sent = bytearray()
        self.pieces: list[bytes] = []
        self.buffer = bytearray()
        self.reading = True
        self.ended = False
        self.aborted = False
        self._full = False

    def set_write_buffer_limits(self, high: int | None = None,
                                low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write(self, data: typing.Any) -> None:
        assert not self.ended, 'written after FIN'
        self.buffer += data
        self._send()
        if self.buffer and not self._full:
            self._full = True
            assert self.protocol is not None
            self.protocol.pause_writing()

    def _send(self) -> None:
        count = (len(self.buffer) if self.room is None
                 else min(self.room, len(self.buffer)))
        if count:
            self.sent += self.buffer[:count]
            self.pieces.append(bytes(self.buffer[:count]))
            del self.buffer[:count]
            if self.room is not None:
                self.room -= count

    def read(self, room: int | None) -> None:
        """The peer reads so much more, or from now on all."""
        self.room = room
        self._send()
        if self._full and not self.buffer:
            self._full = False
            assert self.protocol is not None
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True


class Console:
    """A source, with its audience.

    :param options: of the audience.
    """

    def __init__(self, **options: typing.Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.typed = bytearray()
        self.room: int | None = None
        self.permitted = True
        self.changes: list[bool] = []
        self.recorded: list[str] = []
        values: dict[str, typing.Any] = {
            'max_clients': 8, 'client_buffer': LIMIT, **options}
        self.audience = bridge_audience.Audience(
            self, bridge_audience.AudienceSettings(**values), {})
        self._limit = values['client_buffer']

    def input_from_viewers(self, data: bytes) -> int:
        count = len(data) if self.room is None else min(
            self.room, len(data))
        self.typed += data[:count]
        if self.room is not None:
            self.room -= count
        return count

    def replay_permitted(self) -> bool:
        return self.permitted

    def viewers_changed(self, came: bool) -> None:
        self.changes.append(came)

    def record_viewer(self, event: str) -> None:
        self.recorded.append(event)

    def attach(self, address: str = '192.0.2.1',
               room: int | None = None) -> Transport:
        transport = Transport(address, room)
        transport.protocol = listener.Viewer(self.audience, self._limit)
        transport.protocol.connection_made(transport)
        return transport

    def attach_operator(self, read_only: bool = False) -> Transport:
        transport = Transport('')
        transport.protocol = operators.OperatorViewer(
            self.audience, self._limit, 'root', read_only)
        transport.protocol.connection_made(transport)
        return transport


def type_at(transport: Transport, data: bytes) -> None:
    """Give a viewer input."""
    assert transport.reading and transport.protocol is not None
    view = transport.protocol.get_buffer(-1)
    view[:len(data)] = data
    transport.protocol.buffer_updated(len(data))


def leave(transport: Transport) -> None:
    """Let a viewer go."""
    assert transport.protocol is not None
    transport.protocol.connection_lost(None)


def in_loop(test: collections.abc.Callable[..., typing.Any]
            ) -> collections.abc.Callable[..., None]:
    """Run a test in a loop whose time is virtual."""
    def run(*args: typing.Any, **kwargs: typing.Any) -> None:
        virtual_time.run(test(*args, **kwargs))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__dict__.update(test.__dict__)
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


# -- output --------------------------------------------------------------

@in_loop
async def test_output_reaches_everybody_at_once() -> None:
    console = Console()
    first, second = console.attach(), console.attach()
    console.audience.deliver(b'login: ')
    assert (first.sent, second.sent) == (b'login: ', b'login: ')
    assert console.audience.count == 2


@in_loop
async def test_a_character_that_comes_in_parts_is_given_as_one() -> None:
    console = Console()
    viewer = console.attach()
    for byte in '│ä😀'.encode():
        console.audience.deliver(bytes([byte]))
    assert viewer.pieces == ['│'.encode(), 'ä'.encode(), '😀'.encode()]


@in_loop
async def test_half_a_character_is_held_back_for_20_ms_at_most() -> None:
    console = Console()
    viewer = console.attach()
    console.audience.deliver(b'a\xe2')
    await asyncio.sleep(0.015)
    assert viewer.sent == b'a'
    console.audience.deliver(b'\x94')
    assert viewer.sent == b'a'
    await asyncio.sleep(0.0051)
    assert viewer.sent == b'a\xe2\x94'
    console.audience.deliver(b'\x82')
    assert viewer.sent == 'a│'.encode()


@in_loop
async def test_who_comes_later_sees_what_was_there_before() -> None:
    console = Console(scrollback=16384)
    console.audience.deliver(b'boot\r\nlo\x05gin: \x1b[6n\x1b[3')
    viewer = console.attach()
    assert viewer.sent == b'boot\r\nlogin: \x1b[3'
    console.audience.deliver(b'1mred')
    assert viewer.sent == b'boot\r\nlogin: \x1b[31mred'


@pytest.mark.parametrize(('tail', 'shown'), [
    (b'\x1bP\x9b6n', b'\x1bP6n'),
    (b'\x1b]0;a\xc2\x9c\xc2\x9b6n', b'\x1b]0;a6n'),
    (b'\x1b]\xc2\x05\x9b6n', b'\x1b]\xc26n'),
    (b'\x1b_\x9a\x90', b'\x1b_'),
    (b'\x1b[\x056', b'\x1b[6'), (b'\x9b6', b'\x9b6'),
    (b'\xc2\x9b\x056', b'\xc2\x9b6'),
    ('\x1b]0;ä│⛄'.encode(), '\x1b]0;ä│⛄'.encode())])
@in_loop
async def test_what_is_unfinished_asks_nothing_either(
        tail: bytes, shown: bytes) -> None:
    console = Console(scrollback=16384)
    console.audience.deliver(b'boot\r\n' + tail)
    assert console.attach().sent == b'boot\r\n' + shown


@in_loop
async def test_half_of_the_buffer_is_shown_at_most() -> None:
    console = Console(scrollback=16384)
    console.audience.deliver(b''.join(
        b'line %d\r\n' % number for number in range(2000)))
    viewer = console.attach(room=100)
    viewer.read(None)
    assert LIMIT // 2 - 20 < len(viewer.sent) <= LIMIT // 2
    assert viewer.sent.startswith(b'line ')


@in_loop
async def test_nothing_is_shown_while_another_process_has_the_console(
        ) -> None:
    console = Console(scrollback=16384)
    console.audience.deliver(b'before')
    console.permitted = False
    assert console.attach().sent == b''
    console.permitted = True
    assert console.attach().sent == b'before'


@in_loop
async def test_a_new_owner_sees_nothing_of_the_old_one() -> None:
    console = Console(scrollback=16384)
    viewer = console.attach(room=0)
    console.audience.deliver(b'secret\x1b]secret \xe2\x94')
    console.audience.dismiss(notices.NEW_OWNER)
    console.audience.erase()
    after = console.attach()
    await asyncio.sleep(1)
    assert after.sent == b''
    viewer.read(None)
    assert b'secret\x1b]' in viewer.sent    # the transport had it
    console.audience.deliver(b'\x82x')
    assert after.sent == b'\x82x'


# -- who does not read ---------------------------------------------------

def check(got: bytes, sent: bytes) -> int:
    """Every byte is there or counted, and cuts are where they may be.

    :returns: how many are lost.
    """
    position = lost = 0
    scanner = terminal.Scanner()
    for index, part in enumerate(MARK.split(got)):
        if index % 2:
            assert scanner.tail == b'', 'a mark within a sequence'
            lost += int(part)
            position += int(part)
            assert int(part) > 0
        else:
            assert part == sent[position:position + len(part)]
            scanner.feed(part)
            position += len(part)
    assert position == len(sent)
    return lost


@in_loop
async def test_who_does_not_read_loses_what_it_is_told() -> None:
    console = Console()
    slow, quick = console.attach(room=0), console.attach()
    text = b''.join(b'line %d\r\n' % number for number in range(5000))
    for start in range(0, len(text), 200):
        console.audience.deliver(text[start:start + 200])
    assert quick.sent == text
    assert len(slow.sent) + len(slow.buffer) <= LIMIT
    slow.read(None)
    assert check(bytes(slow.sent), text) > len(text) - 2 * LIMIT


# A stream is repeated so that it fills the queue of a viewer.
@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(test_terminal.PIECES, min_size=1, max_size=30),
       st.lists(st.tuples(st.integers(1, 700), st.integers(0, 900)),
                min_size=1, max_size=30))
@in_loop
async def test_nothing_is_lost_or_split_but_what_is_counted(
        pieces: list[bytes], steps: list[tuple[int, int]]) -> None:
    console = Console()
    slow, quick = console.attach(room=0), console.attach()
    unit = b''.join(pieces)
    data = unit * (20_000 // max(1, len(unit)) + 1)
    position = 0
    for size, room in itertools.cycle(steps):
        if position >= len(data):
            break
        console.audience.deliver(data[position:position + size])
        position += size
        slow.read(room)
    await asyncio.sleep(1)
    assert quick.sent == data
    slow.read(None)
    got = bytes(slow.sent)
    parts = MARK.split(got)
    position = 0
    for index, part in enumerate(parts):
        if index % 2:
            position += int(part)
        else:
            assert part == data[position:position + len(part)]
            position += len(part)
    assert position == len(data)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([
    b'\x1b[31m', b'\x1b]0;title\x07', b'\x1b]0;title\x1b\\', b'\x1b(B',
    'ä'.encode(), '│'.encode(), '😀'.encode(), b'text', b'\r\n',
    b'\x1bPq;' + b'x' * 300 + b'\x1b\\']), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 700), st.integers(0, 900)),
             min_size=1, max_size=30))
@in_loop
async def test_no_mark_stands_within_a_character_or_a_sequence(
        pieces: list[bytes], steps: list[tuple[int, int]]) -> None:
    console = Console()
    slow = console.attach(room=0)
    unit = b''.join(pieces)
    data = unit * (20_000 // len(unit) + 1)
    position = 0
    for size, room in itertools.cycle(steps):
        if position >= len(data):
            break
        console.audience.deliver(data[position:position + size])
        position += size
        slow.read(room)
    slow.read(None)
    check(bytes(slow.sent), data)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(
    test_terminal.PIECES.map(lambda data: ('deliver', data)),
    st.sampled_from([('state', DOWN), ('state', HELD),
                     ('state', notices.Standing()), ('tell', 'told')]),
    st.floats(0.001, 0.5).map(lambda wait: ('wait', wait))), max_size=40))
@in_loop
async def test_notices_take_nothing_away_and_keep_their_distance(
        steps: list[tuple[str, typing.Any]]) -> None:
    console = Console()
    viewer = console.attach()
    sent, times = b'', []
    for what, value in [*steps, ('wait', 5.0)]:
        if what == 'wait':
            for _ in range(int(value / 0.01) + 1):
                await asyncio.sleep(0.01)
                if viewer.sent.count(b'[solconsole: ') > len(times):
                    times.append(console.loop.time())
            continue
        getattr(console.audience, what)(value)
        sent += value if what == 'deliver' else b''
        if viewer.sent.count(b'[solconsole: ') > len(times):
            times.append(console.loop.time())
    assert re.sub(rb'\r\n\[solconsole: [a-z]+\]\r\n', b'',
                  bytes(viewer.sent)) == sent
    assert all(later - earlier > 0.97
               for earlier, later in itertools.pairwise(times)), times


# -- input ---------------------------------------------------------------

@in_loop
async def test_every_byte_value_passes_both_ways() -> None:
    console = Console()
    viewer = console.attach()
    everything = bytes(range(256))
    type_at(viewer, everything)
    console.audience.deliver(everything)
    await asyncio.sleep(1)
    assert (console.typed, viewer.sent) == (everything, everything)


@in_loop
async def test_who_pastes_too_fast_is_not_read() -> None:
    console = Console()
    first, second = console.attach(), console.attach()
    console.room = 3
    type_at(first, b'abcdef')
    type_at(second, b'123')
    assert (first.reading, second.reading) == (False, False)
    console.room = 4
    console.audience.offer_room()
    assert console.typed == b'abcdef1'
    assert (first.reading, second.reading) == (True, False)
    console.room = None
    console.audience.offer_room()
    assert console.typed == b'abcdef123'
    assert second.reading


@in_loop
async def test_in_exclusive_mode_the_first_writes_until_it_leaves() -> None:
    console = Console(exclusive=True)
    first, second, third = (console.attach() for _ in range(3))
    type_at(second, b'no')
    type_at(second, b'no')
    type_at(first, b'yes')
    console.room = 0
    type_at(first, b'!')
    console.room = 10
    console.audience.offer_room()
    assert console.typed == b'yes!'
    assert second.sent == notices.line(notices.EXCLUSIVE)
    leave(first)
    await asyncio.sleep(1.1)
    assert second.sent.endswith(notices.line(notices.WRITER))
    type_at(second, b'now')
    type_at(third, b'no')
    assert console.typed == b'yes!now'


@pytest.mark.parametrize('end', ['makes room', 'is idle'])
@in_loop
async def test_who_writes_may_be_sent_away_and_the_next_one_writes(
        end: str) -> None:
    console = Console(exclusive=True, max_clients=2, idle_timeout=95.0)
    first, second = console.attach(), console.attach()
    type_at(second, b'no')
    for _ in range(7 if end == 'makes room' else 9):
        await asyncio.sleep(10)
        type_at(second, b'no')
    await asyncio.sleep(6)
    third = console.attach()
    assert (first.ended, second.ended, third.ended) == (True, False, False)
    await asyncio.sleep(1.1)
    assert second.sent.endswith(notices.line(notices.WRITER))
    type_at(third, b'no')
    type_at(second, b'yes')
    assert console.typed == b'yes'


# -- who may stay --------------------------------------------------------

@in_loop
async def test_one_too_many_is_told_so_and_closed() -> None:
    console = Console(max_clients=2)
    viewers = [console.attach() for _ in range(3)]
    assert console.audience.count == 2
    assert viewers[2].sent == notices.line(notices.FULL)
    assert [viewer.ended for viewer in viewers] == [False, False, True]


@in_loop
async def test_who_was_idle_longest_makes_room() -> None:
    console = Console(max_clients=2)
    first, second = console.attach(), console.attach()
    await asyncio.sleep(1)
    type_at(first, b'x')
    await asyncio.sleep(59.5)
    third = console.attach()
    assert second.sent == notices.line(notices.MADE_ROOM)
    assert (first.ended, second.ended, third.ended) == (False, True, False)
    fourth = console.attach()
    assert fourth.ended
    assert console.audience.count == 2
    came, rest = console.recorded[:2], console.recorded[2:]
    assert all(text.startswith('viewer 192.0.2.1:')
               and text.endswith(' came') for text in came), came
    # Nothing of the fourth, which never was at the console.
    assert rest == [
        came[1].replace('came', f'was disconnected: {notices.MADE_ROOM}'),
        rest[1]] and rest[1].endswith(' came'), rest


@in_loop
async def test_who_does_not_read_is_idle_though_the_host_prints() -> None:
    console = Console(max_clients=2)
    hangs, reads = console.attach(room=0), console.attach()
    for _ in range(70):
        console.audience.deliver(b'tick\r\n')
        await asyncio.sleep(1)
    console.attach()
    assert (hangs.ended, reads.ended) == (True, False)


@in_loop
async def test_who_is_forgotten_makes_room_though_nova_resets() -> None:
    """Each tab that is opened parks the console."""
    console = Console(max_clients=2, idle_timeout=100.0)
    forgotten, types = console.attach(), console.attach()
    for _ in range(7):
        await asyncio.sleep(9)
        type_at(types, b'x')
        console.audience.pause()
        await asyncio.sleep(0.5)
        console.audience.resume()
    assert not console.attach().ended
    assert (forgotten.ended, types.ended) == (True, False)
    assert forgotten.sent == notices.line(notices.MADE_ROOM)


@in_loop
async def test_time_for_which_nothing_can_pass_is_no_idle_time() -> None:
    console = Console(max_clients=1, idle_timeout=10.0)
    viewer = console.attach()
    await asyncio.sleep(9)
    console.audience.pause()
    await asyncio.sleep(100)
    console.audience.resume()
    await asyncio.sleep(0.5)
    assert not viewer.ended
    assert console.attach().ended, 'it was not idle for a minute'
    await asyncio.sleep(0.6)
    assert viewer.ended


@in_loop
async def test_each_parking_leaves_no_timer_behind(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A console that is used all day is parked some hundred times."""
    console = Console(idle_timeout=600.0)
    made: list[asyncio.TimerHandle] = []
    call_at = console.loop.call_at

    def note(*args: typing.Any, **more: typing.Any) -> asyncio.TimerHandle:
        made.append(call_at(*args, **more))
        return made[-1]

    monkeypatch.setattr(console.loop, 'call_at', note)
    console.attach()
    for _ in range(100):
        console.audience.pause()
        await asyncio.sleep(0.5)
        console.audience.resume()
    assert sum(not timer.cancelled() and timer.when() > console.loop.time()
               for timer in made) == 1


@in_loop
async def test_who_comes_again_and_again_does_not_fill_the_log(
        caplog: pytest.LogCaptureFixture) -> None:
    console = Console(max_clients=1, gate=access.Gate())
    stays = console.attach()
    for _ in range(119):
        assert console.attach().ended
        await asyncio.sleep(1)
        type_at(stays, b'x')
    assert caplog.text.count('turned away') == 2


@in_loop
async def test_one_address_has_its_share() -> None:
    console = Console(max_clients_per_address=2)
    viewers = [console.attach('192.0.2.1') for _ in range(3)]
    assert [viewer.ended for viewer in viewers] == [False, False, True]
    assert viewers[2].sent == notices.line(notices.FULL_ADDRESS)
    assert not console.attach('192.0.2.2').ended


@in_loop
async def test_who_is_not_allowed_gets_fin_and_no_word() -> None:
    console = Console(gate=access.Gate(['192.0.2.0/24']))
    refused = console.attach('198.51.100.1')
    assert (refused.ended, refused.sent) == (True, b'')
    assert not console.attach('192.0.2.1').ended
    assert console.changes == [True]


@in_loop
async def test_nothing_for_a_while_ends_a_connection() -> None:
    console = Console(idle_timeout=10.0)
    idle, types = console.attach(), console.attach()
    for _ in range(3):
        await asyncio.sleep(4)
        type_at(types, b'x')
    assert idle.sent == notices.line(notices.idle(10))
    assert (idle.ended, types.ended) == (True, False)
    console.audience.deliver(b'x')
    await asyncio.sleep(9)
    assert not types.ended
    await asyncio.sleep(2)
    assert types.ended
    assert console.audience.count == 0
    await asyncio.sleep(100)
    later = console.attach()
    await asyncio.sleep(11)
    assert later.ended


# -- notices -------------------------------------------------------------

@in_loop
async def test_trouble_and_its_end_are_told_to_who_is_there() -> None:
    console = Console()
    there = console.attach()
    console.audience.state(DOWN)
    await asyncio.sleep(2)
    late = console.attach()
    assert late.sent == notices.line('down')
    await asyncio.sleep(2)
    console.audience.state(notices.Standing())
    assert there.sent == late.sent == (
        notices.line('down') + notices.line(notices.CONNECTED))
    assert console.attach().sent == b''


@in_loop
async def test_what_happened_meanwhile_is_told_before_its_end() -> None:
    console = Console()
    viewer = console.attach()
    console.audience.state(DOWN)
    console.audience.tell(notices.NOT_SENT)
    console.audience.state(notices.Standing())
    await asyncio.sleep(5)
    assert viewer.sent == b''.join(map(notices.line, (
        'down', notices.NOT_SENT, notices.CONNECTED)))


@in_loop
async def test_what_is_over_within_a_second_is_not_told() -> None:
    console = Console()
    viewer = console.attach()
    console.audience.state(DOWN)
    console.audience.state(notices.Standing())
    console.audience.state(HELD)
    console.audience.state(notices.Standing())
    await asyncio.sleep(5)
    assert viewer.sent == notices.line('down') + notices.line(
        notices.CONNECTED)


@in_loop
async def test_connecting_is_told_only_when_it_lasts() -> None:
    console = Console()
    viewer = console.attach()
    connecting = notices.Standing(notices.CONNECTING, late=True)
    console.audience.state(connecting)
    await asyncio.sleep(0.9)
    console.audience.state(notices.Standing())
    await asyncio.sleep(3)
    assert viewer.sent == b''
    console.audience.state(connecting)
    await asyncio.sleep(1.1)
    assert viewer.sent == notices.line(notices.CONNECTING)


@in_loop
async def test_a_notice_waits_for_its_place_200_ms_at_most() -> None:
    console = Console()
    viewer = console.attach()
    console.audience.deliver(b'a\x1b[3')
    console.audience.state(DOWN)
    await asyncio.sleep(0.1)
    assert viewer.sent == b'a\x1b[3'
    console.audience.deliver(b'1mb\x1b[')
    assert viewer.sent == b'a\x1b[31mb' + notices.line('down') + b'\x1b['
    viewer.sent.clear()
    await asyncio.sleep(2)
    console.audience.state(notices.Standing())
    await asyncio.sleep(0.19)
    assert viewer.sent == b''
    await asyncio.sleep(0.02)
    assert viewer.sent == notices.line(notices.CONNECTED)


@in_loop
async def test_who_is_behind_is_told_when_it_is_not_any_more() -> None:
    console = Console()
    viewer = console.attach(room=0)
    for _ in range(10):
        console.audience.deliver(b'x' * 1000)
    console.audience.state(DOWN)
    await asyncio.sleep(5)
    viewer.read(None)
    await asyncio.sleep(0.1)
    assert viewer.sent.endswith(b' bytes lost]\r\n' + notices.line('down'))


@in_loop
async def test_without_notices_only_losses_are_told() -> None:
    console = Console(notices=False, max_clients=1)
    viewer = console.attach(room=0)
    assert console.attach().sent == b''
    console.audience.state(DOWN)
    console.audience.tell('something')
    for _ in range(10):
        console.audience.deliver(b'x' * 1000)
    await asyncio.sleep(5)
    viewer.read(None)
    console.audience.close()
    assert re.fullmatch(
        rb'x+\r\n\[solconsole: [0-9]+ bytes lost\]\r\n', viewer.sent)
    assert viewer.ended


@in_loop
async def test_notices_that_wait_are_limited() -> None:
    console = Console()
    viewer = console.attach()
    for number in range(1000):
        console.audience.tell(f'notice {number}')
    await asyncio.sleep(60)
    assert viewer.sent.count(b'[solconsole: ') <= 1 + (
        bridge_audience.MAX_WISHES)


# -- the end, and between ------------------------------------------------

@in_loop
async def test_the_end_is_fin_with_its_reason() -> None:
    console = Console()
    hangs, reads = console.attach(room=0), console.attach()
    console.audience.deliver(b'x' * 2000)
    console.audience.close()
    assert reads.sent == b'x' * 2000 + notices.line(notices.CLOSED)
    assert hangs.ended and reads.ended and reads.reading
    # What the peer still sends is read, and goes nowhere.
    type_at(reads, b'late')
    leave(reads)
    await asyncio.sleep(1.1)
    assert (hangs.aborted, reads.aborted) == (True, False)
    assert console.typed == b''
    assert console.attach().ended
    assert console.changes == [True, True, False]


@in_loop
async def test_connections_that_are_being_ended_are_limited() -> None:
    console = Console(max_clients=1)
    console.attach()
    refused = [console.attach() for _ in range(300)]
    assert sum(viewer.aborted for viewer in refused) == (
        300 - listener._MAX_ENDING)
    assert refused[0].aborted and not refused[-1].aborted
    await asyncio.sleep(2)
    for viewer in refused:
        leave(viewer)
    assert not listener._ending


@in_loop
async def test_no_byte_passes_a_viewer_while_paused() -> None:
    console = Console(idle_timeout=10.0)
    viewer, behind = console.attach(), console.attach(room=0)
    console.audience.deliver(b'abc\xe2')
    console.room = 0
    type_at(viewer, b'typed')
    console.audience.pause()
    console.audience.state(DOWN)
    before = bytes(viewer.sent)
    console.room = None
    console.audience.offer_room()
    await asyncio.sleep(20)
    assert (viewer.sent, console.typed) == (before, b'')
    assert not viewer.reading
    newcomer = console.attach()
    assert newcomer.sent == notices.line(notices.RESTARTING)
    assert newcomer.ended
    console.audience.state(notices.Standing())
    console.audience.resume()
    console.audience.offer_room()
    assert console.typed == b'typed'
    assert viewer.reading
    console.audience.deliver(b'\x94\x82')
    behind.read(None)
    assert viewer.sent == behind.sent == 'abc│'.encode()


@in_loop
async def test_newcomers_are_told_why_they_are_turned_away() -> None:
    console = Console()
    console.audience.shut = notices.MOVING
    viewer = console.attach()
    assert viewer.sent == notices.line(notices.MOVING)
    assert viewer.ended
    console.audience.shut = ''
    assert not console.attach().ended


@pytest.mark.parametrize('address', ['192.0.2.1'])
@in_loop
async def test_the_source_hears_who_comes_and_goes(address: str) -> None:
    console = Console()
    first = console.attach(address)
    second = console.attach(address)
    leave(first)
    assert console.changes == [True, True, False]
    console.audience.dismiss('x')
    leave(second)
    assert console.changes == [True, True, False, False]
