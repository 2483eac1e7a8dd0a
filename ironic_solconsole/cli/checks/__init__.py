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

"""What ``ironic-solconsole check`` looks at, by subject.

Each module has functions that judge what was found, from plain values, and
a few that find it out. None changes anything on the host, and none needs a
conductor that runs.
"""

import dataclasses
import enum


class Verdict(enum.StrEnum):
    """What was found; the value is what ``check`` prints."""

    OK = 'ok'
    WARNING = 'warning'
    ERROR = 'error'
    SKIPPED = 'skipped'


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the result.

    :param check: name of what was looked at.
    :param detail: what was found, in a sentence without its full stop;
        never a secret.
    :param advice: what to do; '' where there is nothing to be done.
    """

    check: str
    verdict: Verdict
    detail: str
    advice: str = ''


def ok(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """It works, and may not stay so."""
    return Finding(check, Verdict.WARNING, detail, advice)


def error(check: str, detail: str, advice: str) -> Finding:
    """It cannot work."""
    return Finding(check, Verdict.ERROR, detail, advice)


def skipped(check: str, reason: str, advice: str = '') -> Finding:
    """It was not looked at."""
    return Finding(check, Verdict.SKIPPED, reason, advice)
