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


"""IPMI messages over LAN: requests and their answers.

IPMI v2.0 section 13.8 and table 13-8: address, network function, checksum;
address, number, command, data, checksum. Pure: values and bytes. What is
parsed here has come out of a packet that was authenticated; its checksums
say nothing more and are not looked at.
"""

import typing

NETFN_APP = 0x06
CMD_GET_DEVICE_ID = 0x01
CMD_SET_PRIVILEGE = 0x3b
CMD_CLOSE_SESSION = 0x3c

#: Requests of a session are numbered with six bits.
NUMBERS = 64

_BMC = 0x20             # slave address, section 5.5
_US = 0x81              # first software id of remote consoles, table 5-4

#: NetFn Transport, command SOL Activating (section 26.1): a BMC tells that
#: somebody activates SOL. OpenBMC sends it to the session that loses the
#: console, in place of the deactivating flag.
_SOL_ACTIVATING = (0x0c, 0x20)


class Answer(typing.NamedTuple):
    """A BMC's answer to a command: completion code and the data after it."""

    code: int
    data: bytes


#: What an answer repeats of its request: network function, number, command.
Key = tuple[int, int, int]


def _checksum(data: bytes) -> bytes:
    return bytes((-sum(data) & 0xff,))


def request(netfn: int, command: int, data: bytes, number: int) -> bytes:
    """A request to the BMC itself.

    :param number: of the request, below NUMBERS.
    """
    head = bytes((_BMC, netfn << 2))
    body = bytes((_US, number << 2, command)) + data
    return head + _checksum(head) + body + _checksum(body)


def key(netfn: int, command: int, number: int) -> Key:
    """What :func:`parse` tells of the answer to a request."""
    return netfn | 1, number, command


def parse(message: bytes) -> tuple[Key, Answer] | None:
    """An answer of the BMC, and to which request.

    :returns: None if it is none, whatever it is.
    """
    if len(message) < 8 or not message[1] & 0x04:
        return None
    return ((message[1] >> 2, message[4] >> 2, message[5]),
            Answer(message[6], message[7:-1]))


def tells_of_activation(message: bytes) -> bool:
    """Whether the BMC says, unasked, that somebody activates SOL."""
    return len(message) >= 6 and (
        message[1] >> 2, message[5]) == _SOL_ACTIVATING
