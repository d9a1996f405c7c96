"""In place of kubernetes.e2e_test.base and kubernetes.aio.e2e_test.base, which the published package leaves out: a configuration for the cluster
that KUBECONFIG names. A plug-in of pytest, so that the modules are there before the tests are read."""

import asyncio
import sys
import types


def _configuration():
    from kubernetes.client.configuration import Configuration
    from kubernetes.config import kube_config

    configuration = Configuration()
    kube_config.load_kube_config(client_configuration=configuration)
    return configuration


def _asynchronous_configuration():
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.config import kube_config

    configuration = Configuration()
    asyncio.run(kube_config.load_kube_config(client_configuration=configuration))
    return configuration


for _package, _make in (("kubernetes.e2e_test", _configuration), ("kubernetes.aio.e2e_test", _asynchronous_configuration)):
    _outer, _base = types.ModuleType(_package), types.ModuleType(_package + ".base")
    _base.get_e2e_configuration = _make
    _outer.base = _base
    sys.modules[_package], sys.modules[_package + ".base"] = _outer, _base
