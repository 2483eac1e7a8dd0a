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

"""Horizon's page of a serial console: its view, template and scripts.

It runs in the environment of Horizon; :mod:`tests.support.horizon` starts
it::

    python page.py PORT NAME CONSOLE_URL

Ours is what stands for Keystone and for nova-api: the server that the view
asks for, and the URL of its console.
"""

import os
import sys
import types
from wsgiref import simple_server

os.environ['DJANGO_SETTINGS_MODULE'] = 'page_settings'

from django.contrib.staticfiles import handlers  # noqa: E402
from django.core import wsgi  # noqa: E402
from django.urls import include  # noqa: E402
from django.urls import path  # noqa: E402

#: Filled by main(), in the copy of this module that Django imports.
urlpatterns = []


def main():
    """Serve until the test ends the process."""
    port, name, url = sys.argv[1:]
    application = wsgi.get_wsgi_application()
    # only now that Django is set up
    from openstack_dashboard.dashboards.project.instances import console
    from openstack_dashboard.dashboards.project.instances import views

    views.api.nova.server_get = lambda request, uuid: types.SimpleNamespace(
        id=uuid, name=name)
    console.CONSOLES['SERIAL'] = lambda request, uuid: types.SimpleNamespace(
        url=url)
    import page
    page.urlpatterns += [
        path('project/instances/<instance_id>/serial',
             views.SerialConsoleView.as_view()),
        path('', include(('horizon.site_urls', 'horizon')))]
    with simple_server.make_server(
            '127.0.0.1', int(port),
            handlers.StaticFilesHandler(application)) as server:
        server.serve_forever()


if __name__ == '__main__':
    main()
