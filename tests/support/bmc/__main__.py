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

"""A BMC to try things with by hand: ``python -m tests.support.bmc``."""

import argparse
import asyncio
import collections.abc
import contextlib
import signal

from tests.support.bmc import model
from tests.support.bmc import options

_PRESETS: dict[str, collections.abc.Callable[..., options.BmcOptions]] = {
    'standard': options.BmcOptions,
    'openbmc': options.openbmc,
    'ipmi_sim': options.ipmi_sim,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.support.bmc',
        description='A BMC for tests, on UDP. What is typed at its console '
        'is echoed.')
    parser.add_argument('--address', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=0,
                        help='UDP port (default: any)')
    parser.add_argument('--preset', choices=sorted(_PRESETS),
                        default='standard', help='whose habits it has')
    parser.add_argument('--tick', type=float, default=0.0, metavar='SECONDS',
                        help='the host prints a line so often')
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    settings = _PRESETS[arguments.preset](
        address=arguments.address, port=arguments.port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    with model.ModelBmc(settings) as bmc:
        bmc.host.echo = True
        user = options.ADMIN
        print(f'{bmc.address} UDP port {bmc.port}, user {user.name}, '
              f'password {user.password}', flush=True)
        lines = 0
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(arguments.tick or None):
                    await stopped.wait()
            if arguments.tick and bmc.powered:
                lines += 1
                bmc.host.send(f'line {lines}\r\n'.encode())


if __name__ == '__main__':
    asyncio.run(_serve(_arguments()))
