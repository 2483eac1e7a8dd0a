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

"""What is typed at ``attach``: input for the host, and keys of the menu.

The escape key is Ctrl-], as in telnet and virsh. A program on the host may
have made the terminal send keys as control sequences (xterm's
modifyOtherKeys, which vim switches on, and the protocol of kitty), so that
Ctrl-] does not come as one byte; it must work all the same.
"""

import re

ESCAPE = 0x1d

# CSI 27 ; 5 ; 93 ~ of xterm and CSI 93 ; 5 u of xterm and kitty, where 5 is
# Ctrl and 93 "]". kitty may add other codes of the key, the locks that are
# on (64, 128), and the kind of event: 1 pressed, 2 repeated, 3 released.
_ENCODED_ESCAPE = re.compile(
    rb'\x1b\[(?:27;5;93~|93(?::[0-9:]*)?;(?:5|69|133|197)'
    rb'(?::1)?(?:;[0-9:]*)?u)')
_OPEN = re.compile(rb'\x1d|' + _ENCODED_ESCAPE.pattern)

# One key in the menu: a sequence with what it stands for, or a byte. A
# sequence that is no key is an answer of the terminal, or a mouse.
_ENCODED_KEY = re.compile(
    rb'\x1b\[(?:27;([0-9]+);([0-9]+)~|([0-9]+)(?::[0-9:]*)?'
    rb'(?:;([0-9]+)(?::([0-9]))?(?:;[0-9:]*)?)?u)')
_SEQUENCE = re.compile(rb'\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[@-~]')


class Keyboard:
    """Tells input from keys of the menu."""

    def __init__(self) -> None:
        #: Whether the next key is one of the menu.
        self.menu = False

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Take what was read from the terminal.

        :returns: in their order, pairs: (False, input for the host), and
            (True, key of the menu), which is empty when it was opened.
        """
        found: list[tuple[bool, bytes]] = []
        while data:
            if self.menu:
                key, data = _first_key(data)
                if key:
                    self.menu = False
                    found.append((True, key))
                continue
            match = _OPEN.search(data)
            if match is None:
                found.append((False, data))
                break
            if match.start():
                found.append((False, data[:match.start()]))
            self.menu = True
            found.append((True, b''))
            data = data[match.end():]
        return found


def _first_key(data: bytes) -> tuple[bytes, bytes]:
    """A key and what is behind it; no key if it was nobody who typed."""
    match = _ENCODED_KEY.match(data)
    if match is not None:
        modifiers = int(match[1] or match[4] or 1) - 1 & ~0xc0
        code = int(match[2] or match[3])
        rest = data[match.end():]
        if match[5] == b'3' or not 0 < code < 0x80 or modifiers not in (
                0, 1, 4):
            return b'', rest
        if modifiers == 4:
            code &= 0x1f
        return bytes((code,)), rest
    match = _SEQUENCE.match(data)
    if match is not None:
        return b'', data[match.end():]
    return data[:1], data[1:]
