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

"""What every test of the project gets."""

import resource
import signal

import hypothesis

#: Hosts, viewers and BMCs of a test with 200 consoles live in the test
#: process, and the usual soft limit is 1024.
_OPEN_FILES = 8192


def pytest_configure() -> None:
    """Take time and open files as they are needed, where that is allowed.

    How long an example may take is no property of the product, and a busy
    machine takes its time. What a plugin has set before is kept.
    """
    hypothesis.settings.register_profile(
        'patient', parent=hypothesis.settings.default, deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile('patient')
    # A shell ignores it for what it starts in the background, and so would
    # all that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard < 0 else min(hard, _OPEN_FILES)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
