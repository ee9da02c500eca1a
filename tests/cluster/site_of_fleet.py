"""An authority, and a certificate for each node of a fleet, made by the openssl command."""

import pathlib
import subprocess


class Site:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.issued = 0
        self._key("ca")
        self._openssl("req", "-x509", "-new", "-key", self._path("ca.key"), "-out", self._path("ca.crt"), "-subj",
                      "/CN=fleet", "-days", "2")

    def directives(self, index):
        """Of a node, whose first certificate is made now."""
        self.issue(index)
        return {"tls-cluster": "yes", "tls-cert-file": self._path("node-%d.crt" % index),
                "tls-key-file": self._path("node-%d.key" % index), "tls-ca-cert-file": self._path("ca.crt")}

    def issue(self, index):
        """A new key and certificate of the same names, in the place of those that there may be."""
        name = "node-%d" % index
        self._key("new-" + name)
        self._openssl("req", "-new", "-key", self._path("new-" + name + ".key"), "-out", self._path(name + ".csr"), "-subj",
                      "/CN=" + name)
        self._openssl("x509", "-req", "-in", self._path(name + ".csr"), "-CA", self._path("ca.crt"), "-CAkey",
                      self._path("ca.key"), "-set_serial", str(1000 + self.issued), "-out", self._path("new-" + name + ".crt"),
                      "-days", "2")
        for kind in ("key", "crt"):
            (self.folder / ("new-%s.%s" % (name, kind))).replace(self.folder / ("%s.%s" % (name, kind)))
        self.issued += 1

    def _key(self, name):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self._path(name + ".key"))

    def _path(self, name):
        return str(self.folder / name)

    @staticmethod
    def _openssl(*words):
        done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError("openssl %s: %s" % (words[0], done.stdout.decode(errors="replace")))
