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

"""Timers of the driver's methods, in the registry that Ironic collects.

Ironic keeps its metrics in ``ironic.common.metrics_utils`` since 28.0. Up
to 27 they are in ironic-lib; from 28 on ironic-lib, where it is still
installed, is a registry that nobody reads, so it must not be the first
choice.
"""

try:
    from ironic.common import metrics_utils
except ImportError:
    from ironic_lib import metrics_utils

METRICS = metrics_utils.get_metrics_logger(__name__)
