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

"""Do what Nova's API and its Ironic driver do, when a test asks for it.

It runs in the environment of Nova; :mod:`tests.support.nova` starts it::

    python ask.py --config-file nova.conf

A question is a line of JSON on standard input, ``{"id": 1, "do": "reset",
...}``, and so is its answer, ``{"id": 1, "value": ...}`` or ``{"id": 1,
"error": "..."}``. Questions are answered at the same time, each in a
thread of its own, in any order.
"""

# Nova wants this before all else. nova-compute has native threads too.
from nova import monkey_patch

monkey_patch.patch(backend='threading')

import concurrent.futures  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

from nova import config  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import objects  # noqa: E402
from nova.compute import api as compute_api  # noqa: E402
from nova.compute import vm_states  # noqa: E402
import nova.conf  # noqa: E402
from nova.virt.ironic import driver as ironic_driver  # noqa: E402
from oslo_log import log as logging  # noqa: E402

CONF = nova.conf.CONF

PROJECT = '0123456789abcdef0123456789abcdef'


def create_instance(context, uuid, node):
    """An instance on a node, as after its deployment."""
    instance = objects.Instance(
        context=context, uuid=uuid, user_id=PROJECT, project_id=PROJECT,
        host=CONF.host, node=node, compute_id=1, vm_state=vm_states.ACTIVE,
        display_name='bare metal', hostname='bare-metal')
    instance.create()


def get_url(context, uuid):
    """What nova-api does at ``POST /servers/UUID/remote-consoles``."""
    instance = objects.Instance.get_by_uuid(context, uuid)
    answer = compute_api.API().get_serial_console(
        context, instance, 'serial')
    return answer['url']


def reset(context, uuid):
    """The Ironic driver's get_serial_console, with nothing around it."""
    driver = ironic_driver.IronicDriver(None)
    instance = objects.Instance(context=context, uuid=uuid)
    began = time.monotonic()
    console = driver.get_serial_console(context, instance)
    return {'host': console.host, 'port': console.port,
            'seconds': time.monotonic() - began}


QUESTIONS = {
    function.__name__: function
    for function in (create_instance, get_url, reset)}


def answer(line, output, mutex):
    """Answer a line."""
    question = json.loads(line)
    number, function = question.pop('id'), QUESTIONS[question.pop('do')]
    try:
        context = nova_context.RequestContext(
            PROJECT, PROJECT, is_admin=True)
        said = {'value': function(context, **question)}
    except Exception as error:
        said = {'error': f'{type(error).__name__}: {error}'}
    with mutex:
        print(json.dumps({'id': number, **said}), file=output, flush=True)


def main():
    """Answer until the test closes standard input."""
    # Nova logs to standard output
    output, sys.stdout = sys.stdout, sys.stderr
    config.parse_args(sys.argv)
    logging.setup(CONF, 'nova')
    objects.register_all()
    mutex = threading.Lock()
    print(json.dumps({'id': 0, 'value': 'ready'}), file=output, flush=True)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for line in sys.stdin:
            pool.submit(answer, line, output, mutex)


if __name__ == '__main__':
    main()
