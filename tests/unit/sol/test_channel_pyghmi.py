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

"""What pyghmi's Console gets wrong in the SOL protocol, and we do not.

pyghmi 1.6.19, ``ipmi/console.py``. Each of these was seen with real
programs; see the contributor's guide.
"""

import sys

from ironic_solconsole.sol.channel import DataReceived
from ironic_solconsole.sol.channel import Deactivated
from ironic_solconsole.sol.channel import InputAccepted
from ironic_solconsole.sol.channel import Lost
from tests.unit.sol.bench import DEACTIVATED
from tests.unit.sol.bench import NACK
from tests.unit.sol.bench import Bench
from tests.unit.sol.bench import ack
from tests.unit.sol.bench import data
from tests.unit.sol.bench import serial_break


def test_a_retry_with_more_data_loses_no_bytes():
    # pyghmi cuts the four bytes of the header off once more.
    bench = Bench()
    bench.bmc_sends(1, b'abcd')
    bench.bmc_sends(1, b'abcdefghijkl')
    bench.expect_sent(ack(1, 4), ack(1, 4))
    bench.bmc_sends(2, b'efghijkl')
    bench.expect_events(DataReceived(b'abcd'), DataReceived(b'efghijkl'))


def test_an_old_duplicate_is_not_taken_as_new():
    # pyghmi compares with the last number only.
    bench = Bench()
    bench.bmc_sends(1, b'a')
    bench.bmc_sends(2, b'b')
    bench.bmc_sends(1, b'a')
    bench.bmc_sends(2, b'b')
    bench.bmc_sends(3, b'c')
    bench.expect_events(
        DataReceived(b'a'), DataReceived(b'b'), DataReceived(b'c'))


def test_sending_to_a_dead_bmc_waits_for_nothing():
    # pyghmi waits in a nested loop, 12.5 s for all consoles of a process.
    bench = Bench()
    for _ in range(100):
        assert bench.types(b'x' * 100) == 100
    bench.expect_sent(data(2, b'x' * 100))
    bench.passes(60)
    bench.expect_events(Lost())


def test_a_paste_of_many_packets_does_not_recurse():
    # pyghmi calls itself for each 32 bytes: RecursionError at 6,000.
    bench = Bench(size=5)
    limit = sys.getrecursionlimit()
    text = b'p' * 4 * limit
    bench.types(text)
    host = b''
    while packets := bench.sent():
        host += packets[0].data
        bench.bmc_sends(acks=packets[0].number, count=1)
    assert host == text


def test_a_deactivation_is_heard_with_nothing_outstanding():
    # pyghmi looks at the flag only where an acknowledgment is awaited.
    bench = Bench()
    bench.bmc_sends(status=DEACTIVATED)
    bench.expect_events(Deactivated())
    bench.expect_closed()


def test_a_partly_accepted_packet_without_nack_keeps_its_tail():
    bench = Bench()
    bench.types(b'head and tail')
    bench.sent()
    bench.bmc_sends(acks=2, count=4)
    bench.expect_sent(data(3, b' and tail'))


def test_a_break_that_was_refused_is_not_lost():
    bench = Bench()
    bench.sends_break()
    bench.sent()
    bench.bmc_sends(acks=2, status=NACK)
    bench.passes(0.1)
    bench.expect_sent(serial_break(3))


def test_the_size_that_the_bmc_reports_includes_the_header():
    # pyghmi sends 255 characters, a payload of 259 bytes, where the BMC
    # takes 255 bytes.
    bench = Bench(size=255)
    bench.types(b'x' * 300)
    packet, = bench.sent()
    assert len(packet.data) + 4 == 255


def test_the_first_input_is_not_swallowed_by_a_bmc_that_remembers():
    # pyghmi always starts with number 1, and OpenIPMI's lanserv takes it
    # for a retry when the activation before ended with number 1. The empty
    # packet has nothing to lose.
    bench = Bench(activated=False)
    bench.activate()
    bench.types(b'root\r')
    bench.expect_sent(data(1, b''))
    bench.bmc_sends(acks=1, count=5)
    bench.expect_events()
    bench.expect_sent(data(2, b'root\r'))
    bench.bmc_sends(acks=2, count=5)
    bench.expect_events(InputAccepted(5))


def test_a_bmc_that_takes_only_number_1_first_gets_it():
    # OpenBMC; a start at random, which OpenIPMI would like, is dropped.
    bench = Bench(activated=False)
    bench.activate()
    packet, = bench.sent()
    assert packet.number == 1
