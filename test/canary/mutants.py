#!/usr/bin/env python3
"""Takes the protections of Secrets away, one at a time, and sees that the canary test notices.

    test/canary/mutants.py [--dir DIR] [--only-mutants] [NAME...]

It is `test/mutants/run canary`, and this file its table. NAME is a part of a mutant's name; by default all are tried, which takes
some ten minutes. Needs what canary.py needs.

What cannot be seen this way, because another protection stands in for it:

- explicit_bzero() in buf.c, json.c (json_wipe_free()), yaml_tree.c, and str_free_secret(): free() wipes as well.
- what lies in front of a piece that libcurl points to: mostly there is nothing but a frame's head. test_wipe_http2 sees it.
- that libcurl comes again after the last piece of its buffer (test_wipe_http2 sees it), and that somebody looks where a request was
  given up: without them a piece stays until the connection's next read, which is mostly soon.
- MADV_DONTDUMP: there is no core at all. test_secmem sees the flag.
- a core limit of one process: it inherits the keeper's. So all of them are taken away; what is seen then are the limits, for those
  that are not dumpable leave no core all the same. Where `ulimit -Hc` is 0 nothing is seen; the canary says so.
- PR_SET_DUMPABLE of agent and cache: the kernel switches it off when ids change. Of the keeper: its capabilities keep those without
  them away. The publisher's is seen here, the audit process's and the signaller's by sandbox.sh.
- free(), for what comes from the API server: the block in which TLS has decrypted a record is the next one that is given to
  our buffers and to jansson, which wipe it. What manifests are read from is seen, and replaced credentials are.
- loop_run()'s wiping of the stack: what the agent does next mostly writes over it; test_loop sees it. The same wiping at a
  command's end is seen here.
- what an SSL record was decrypted in (SSL_MODE_RELEASE_BUFFERS is libcurl's): it is "free() does not wipe".
"""
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test/lib"))
from mutant import Mutant # pylint: disable=wrong-import-position

# name: (file, old text, new text, stages that see it); several files: the same text in each
TABLE = {
    "free() does not wipe":
        ("common/wipe_malloc.c", "	explicit_bzero(p, malloc_usable_size(p));\n", "", "small,manifests"),
    "realloc() does not wipe the old place":
        ("common/wipe_malloc.c", "old_size);\n		free(p);", "old_size);\n		__libc_free(p);", "manifests"),
    "what was taken of a connection is not wiped":
        ("common/wipe_http2.c", "	wipe(in, in + (n < 0 ? (ssize_t)len : n));\n", "", "small"),
    "libcurl does not call ours":
        ("Makefile", "nghttp2_session_mem_recv nghttp2", "nghttp2_session_none nghttp2", "small"),
    "what libcurl has pointed to is not wiped":
        ("common/wipe_http2.c", "	wipe(s->held, s->held_end);\n", "", "life,errors"),
    "curl's buffers are not wiped when a piece was taken":
        ("agent/http.c", "	explicit_bzero(data, size * n);\n", "", "life"),
    "what is removed from the arena is not wiped":
        ("common/secmem.c", "	explicit_bzero(from + CHUNK_HEADER, chunk_bytes(c) - CHUNK_HEADER);\n", "", "life"),
    "an old Secret is kept":
        ("agent/store.c", "	secret_unref(old);\n", "", "life"),
    "the old client key is kept":
        ("agent/http.c", "	tls_unref(h->tls);\n	h->tls = fresh;", "	h->tls = fresh;", "credentials"),
    "the old token is kept":
        ("agent/http.c", "	headers_unref(h->headers);\n	h->headers = fresh;", "	h->headers = fresh;", "credentials"),
    "old records stay in the offline cache":
        ("agent/cache.c", "	r = cache_io_remove(c->io, c->garbage[c->at].name, on_removed, c);\n	if (r < 0)\n		on_removed(",
         "	r = 0;\n	on_removed(", "offline"),
    "the stack is not wiped":
        ("agent/main.c", "	sodium_stackzero(STACK_WIPED);\n", "", "manifests"),
    "a hook's child does not wipe its stack":
        ("agent/hook_watch.c", "			sodium_stackzero(STACK_SIZE);\n", "", "commands"),
    "env prints through stdio, whose buffer stays":
        ("agent/cli_env.c", "write(STDOUT_FILENO, b->data + done, b->len - done)",
         "(ssize_t)fwrite(b->data + done, 1, b->len - done, stdout)", "handed"),
    "what was gathered for an environment is kept":
        ("agent/handout.c", "	gather_free(run->gather);\n", "", "handed"),
    "what was answered is kept":
        ("agent/control.c", "MHD_RESPMEM_MUST_FREE", "MHD_RESPMEM_PERSISTENT", "handed"),
    "processes may dump core":
        ("agent/cli.c agent/sandbox.c fusefs/publisher.c", "setrlimit(RLIMIT_CORE, &", "(0 && &", "crash"),
    "the publisher is dumpable":
        ("fusefs/publisher.c", "|| prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ", "", "crash"),
}


@dataclasses.dataclass
class Stages:
    """Stages of canary.py, of which one has to fail."""
    names: str
    fail: bool = True

    def __str__(self):
        return self.names

    @staticmethod
    def targets():
        return ["build/secretlet", "build/apiserver"]

    needs = targets

    @staticmethod
    def unchanged(tests):
        return [Stages(",".join(sorted({name for test in tests for name in test.names.split(",")})), fail=False)]

    def problems(self, root):
        text = "".join(file.read_text() for file in (root / "test/canary").glob("*.py"))
        return [f"the canary has no stage {name}" for name in self.names.split(",") if f"def stage_{name}(" not in text]

    def look(self, tree, folder):
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        done = subprocess.run(["unshare", "-m", "--propagation", "private", "--", sys.executable, tree / "test/canary/canary.py",
                               "--build", tree / "build", "--dir", run, "--only", self.names, "--stop"], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        shutil.rmtree(run, ignore_errors=True)
        lines = done.stdout.decode(errors="replace").splitlines()
        if done.returncode == 0:
            return not self.fail, []
        at = next((i for i, line in enumerate(lines) if re.match("not ok", line)), None)
        # it has to say what it has found
        return self.fail and at is not None, lines[at:at + 3] if at is not None else lines[-5:]


MUTANTS = [Mutant(name, paths, old, new, [Stages(stages)]) for name, (paths, old, new, stages) in TABLE.items()]

if __name__ == "__main__":
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    if "--dir" in options:
        options.insert(options.index("--dir") + 1, sys.argv[sys.argv.index("--dir") + 1])
    names = [word for word in sys.argv[1:] if word not in options]
    os.execv(ROOT / "test/mutants/run", ["run", "canary", *options, *[word for name in names for word in ("--only", name)]])
