"""The cluster that kr8s's tests run against: the one that KUBECONFIG names, which is there already."""

import os
import subprocess
from pathlib import Path


class KindCluster:
    def __init__(self, name, image=None):
        self.name = name
        self.kubeconfig_path = Path(os.environ["ORKNET_KUBECONFIG"])
        self.kubectl_path = Path(os.environ["ORKNET_KUBECTL"])

    def create(self):
        pass

    def delete(self):
        pass

    def kubectl(self, *arguments):
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig_path)}
        return subprocess.check_output([self.kubectl_path, *arguments], env=environment, encoding="utf-8")
