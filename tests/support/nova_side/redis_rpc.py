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

"""A transport of oslo.messaging: calls wait in lists of a redis server.

Nova's processes talk over RabbitMQ in a cloud. That is not what is tested
here, and a broker is heavy, so this driver takes its place; every thing
above it is oslo.messaging's and Nova's own. It knows what Nova's console
needs: calls, casts and fan-outs to servers that are there.

``transport_url = solconsole://HOST:PORT``, and see write_entry_point() in
:mod:`tests.support.nova` for how it is found. It runs in the environment
of Nova.
"""

import threading
import uuid

from oslo_messaging import exceptions
from oslo_messaging._drivers import base
from oslo_messaging._drivers import common
from oslo_serialization import jsonutils
import redis

#: Seconds for which a reply is kept that nobody fetches.
_KEPT = 60

#: Seconds between two looks at whether a listener is to stop.
_LOOK = 0.5

_PREFIX = 'rpc'


def _key(*words):
    return ':'.join((_PREFIX, *words))


class _Incoming(base.RpcIncomingMessage):
    """A message for a server, and the way back to who sent it."""

    def __init__(self, client, ctxt, message, reply_to):
        super().__init__(ctxt, message)
        self._client = client
        self._reply_to = reply_to

    def reply(self, reply=None, failure=None):
        """Answer who has called; nobody waits for a cast's answer."""
        if not self._reply_to:
            return
        body = {'reply': reply}
        if failure:
            body = {'failure': common.serialize_remote_exception(failure)}
        with self._client.pipeline() as pipeline:
            pipeline.rpush(self._reply_to, jsonutils.dumps(body))
            pipeline.expire(self._reply_to, _KEPT)
            pipeline.execute()

    def requeue(self):
        raise NotImplementedError

    def heartbeat(self):
        """Calls end within their timeout."""


class _Listener(base.PollStyleListener):
    """What is for a topic, and for a server of it."""

    def __init__(self, client, topic, server):
        super().__init__()
        self._client = client
        self._group = _key('servers', topic)
        self._server = server
        self._keys = [_key(topic, server), _key(topic)]
        self._stopped = threading.Event()
        client.sadd(self._group, server)

    @base.batch_poll_helper
    def poll(self, timeout=None):
        while not self._stopped.is_set():
            found = self._client.blpop(self._keys, timeout=_LOOK)
            if found:
                body = jsonutils.loads(found[1])
                return _Incoming(self._client, body['context'],
                                 body['message'], body['reply_to'])
            if timeout is not None:
                break
        return None

    def stop(self):
        self._client.srem(self._group, self._server)
        self._stopped.set()


class RedisDriver(base.BaseDriver):
    """The driver itself; connections are made when first used, so that a
    process may fork after it has one of these.
    """

    def __init__(self, conf, url, default_exchange=None,
                 allowed_remote_exmods=None):
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        host, = url.hosts
        self._client = redis.Redis(
            host=host.hostname, port=host.port, socket_timeout=None)

    def send(self, target, ctxt, message, wait_for_reply=None, timeout=None,
             call_monitor_timeout=None, retry=None, transport_options=None):
        reply_to = _key('reply', uuid.uuid4().hex) if wait_for_reply else ''
        body = jsonutils.dumps(
            {'context': ctxt, 'message': message, 'reply_to': reply_to})
        for key in self._keys(target):
            self._client.rpush(key, body)
        if not wait_for_reply:
            return None
        # 0 is for ever, to redis as well
        found = self._client.blpop([reply_to], timeout=timeout or 0)
        if found is None:
            raise exceptions.MessagingTimeout(
                f'no reply from {target} within {timeout} s')
        answer = jsonutils.loads(found[1])
        if 'failure' in answer:
            raise common.deserialize_remote_exception(
                answer['failure'], self._allowed_remote_exmods)
        return answer['reply']

    def _keys(self, target):
        if target.fanout:
            return [_key(target.topic, name.decode()) for name in
                    self._client.smembers(_key('servers', target.topic))]
        if target.server:
            return [_key(target.topic, target.server)]
        return [_key(target.topic)]

    def send_notification(self, target, ctxt, message, version, retry=None):
        """Nobody listens to notifications here."""

    def listen(self, target, batch_size, batch_timeout):
        return base.PollStyleListenerAdapter(
            _Listener(self._client, target.topic, target.server),
            batch_size, batch_timeout)

    def listen_for_notifications(self, targets_and_priorities, pool,
                                 batch_size, batch_timeout):
        raise NotImplementedError

    def cleanup(self):
        self._client.close()
