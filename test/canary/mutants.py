#!/usr/bin/env python3
"""Takes the protections of Secrets away, one at a time, and sees that the canary test notices.

    test/canary/mutants.py [--dir DIR] [--only-mutants] [NAME...]

Works on a copy of the tree, which it builds and changes. NAME is a part of a mutant's name; by default all are tried, which
takes some ten minutes. Needs what canary.py needs. Exit status 0 only if the unchanged program passes and each mutant
fails.

What cannot be seen this way, because another protection stands in for it:

- explicit_bzero() in buf.c, json.c (json_wipe_free()), yaml_tree.c, and str_free_secret(): free() wipes as well.
- what lies in front of a piece that libcurl points to: mostly there is nothing but a frame's head. test_wipe_http2 sees it.
- that libcurl comes again after the last piece of its buffer (test_wipe_http2 sees it), and that somebody looks where a request was
  given up: without them a piece stays until the connection's next read, which is mostly soon.
- MADV_DONTDUMP: there is no core at all. test_secmem sees the flag.
- a core limit of one process: it inherits the keeper's. So all of them are taken away; what is seen then are the limits, for those
  that are not dumpable leave no core all the same. Where `ulimit -Hc` is 0 nothing is seen; the canary says so.
- PR_SET_DUMPABLE of agent, cache and audit process: the kernel switches it off when ids change. Of the keeper: its capabilities
  keep those without them away. The publisher's is seen.
- free(), for what comes from the API server: the block in which TLS has decrypted a record is the next one that is given to
  our buffers and to jansson, which wipe it. What manifests are read from is seen, and replaced credentials are.
- loop_run()'s wiping of the stack: what the agent does next mostly writes over it; test_loop sees it. The same wiping at a
  command's end is seen here.
- what an SSL record was decrypted in (SSL_MODE_RELEASE_BUFFERS is libcurl's): it is "free() does not wipe".
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# name: (file, old text, new text, stages that see it); several files: the same text in each
MUTANTS = {
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


def build(tree):
    made = subprocess.run(["make", "-s", "-j2", "build/secretlet", "build/apiserver"], cwd=tree, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode != 0:
        sys.stdout.write(made.stdout.decode(errors="replace"))
    return made.returncode == 0


def canary(tree, folder, stages):
    """None: passed; else the first lines that say why not."""
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(["unshare", "-m", "--propagation", "private", "--", sys.executable, ROOT / "test/canary/canary.py",
                           "--build", tree / "build", "--dir", folder, "--only", stages, "--stop"], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.returncode == 0:
        return None
    at = next((i for i, line in enumerate(lines) if line.startswith("not ok")), max(0, len(lines) - 5))
    return lines[at:at + 3]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--only-mutants", action="store_true", help="the unchanged program is known to pass")
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    chosen = {n: m for n, m in MUTANTS.items() if not args.names or any(a in n for a in args.names)}
    folder = args.dir or pathlib.Path(tempfile.mkdtemp(prefix="canary-mutants."))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    tree = folder / "tree"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, files)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        # newer than what an earlier run has built of a mutant there
        shutil.copy(ROOT / name, tree / name)
    stages = ",".join(sorted({stage for mutant in chosen.values() for stage in mutant[3].split(",")}))
    failed = 0
    if not args.only_mutants:
        why = canary(tree, folder / "run", stages) if build(tree) else ["it cannot be built"]
        print(f"{'ok' if not why else 'NOT OK'}: unchanged, {stages}", flush=True)
        if why:
            print("\n".join(why))
            return 1
    for name, (paths, old, new, stages) in chosen.items():
        texts = {path: (tree / path).read_text() for path in paths.split()}
        if changed := [path for path, text in texts.items() if text.count(old) != 1]:
            failed += 1
            print(f"NOT OK: {name}: {', '.join(changed)}: its text is not there, or not once")
            continue
        for path, text in texts.items():
            (tree / path).write_text(text.replace(old, new))
        if "Makefile" in texts:
            (tree / "build/secretlet").unlink()
        built = build(tree)
        why = canary(tree, folder / "run", stages) if built else None
        failed += not why
        print(f"{'noticed' if why else 'NOT NOTICED' if built else 'NOT BUILT'}: {name} ({stages})")
        for line in why or []:
            print(f"    {line}")
        sys.stdout.flush()
        for path, text in texts.items():
            (tree / path).write_text(text)
        if "Makefile" in texts:
            (tree / "build/secretlet").unlink()
    shutil.rmtree(folder / "run", ignore_errors=True)
    print(f"{len(chosen) - failed} of {len(chosen)} noticed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
