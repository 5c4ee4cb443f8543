"""What keeps a pod from another one's files, and other users of the host from all of them.

With containers of crun alone and three rounds of the race, which is enough for what always fails. What cannot be seen this way:

- that a node id is never given to another content: there is one counter, and no text that could be taken away.
- what is the kernel's own: that a bind mount has no way out, that clones show what the mount shows, owners, user and pid namespaces.
- that a change of somebody else's is refused while the publisher's is staged: the race meets the moment by chance only; test_volume
  does by design, and is named for it.
- default_permissions, by which the kernel checks the modes: without it no pod becomes ready.
- the keeper's and the agent's being not dumpable: of the first its capabilities, of the other the kernel, see sandbox.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mutant import Mutant, Test # pylint: disable=wrong-import-position


def isolation(*cases):
    return Test("isolation.sh", list(cases), None, {"RUNTIMES": "crun", "ROUNDS": "3"})


MUTANTS = [
    Mutant("handles: the kernel makes them", "fusefs/session.c", "FUSE_MAX_PAGES | INIT_NO_EXPORT_SUPPORT |", "FUSE_MAX_PAGES |",
           [isolation("crun, host's root: handle")]),
    Mutant("changes: the mount can be written to", "fusefs/mount.c", "fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY)",
           "fsmount(fs, FSMOUNT_CLOEXEC, 0)",
           [isolation("host: the mount is read-only", "the file system is writable, its mount is not")]),
    Mutant("changes: the agent does not refuse them", "fusefs/ops.c", "	fuse_reply_err(req, EROFS);\n",
           "	fuse_reply_err(req, 0);\n",
           [isolation("crun, host's root: remount", "crun, user namespace: remount", "crun, racing: it saw",
                      # and what it has removed has gone
                      "crun, user namespace: path", "crun, user namespace: mount")]),
    Mutant("changes: who is not the publisher makes those that are staged", "fusefs/ops.c",
           "	if (!is_replay(req) && !publish_is_publisher(ops_of(req)->publish, fuse_req_ctx(req)->pid))\n		return NULL;\n", "",
           [Test("test_volume", ["a_staged_change_of_somebody_else_is_refused", "every_change_is_refused_with_erofs"])]),
    Mutant("modes: of the pods' folders", "fusefs/plan_steps.h", "#define MODE_POD_DIR 0750", "#define MODE_POD_DIR 0755",
           [isolation("host: nor one with the pod's fsGroup, by path", "host: nor by the pod's name")]),
    Mutant("modes: of the root folder", "fusefs/tree.c", "node_new(t, NODE_DIR, 0711, 0, &t->root)",
           "node_new(t, NODE_DIR, 0755, 0, &t->root)", [isolation("host: nor list the pods")]),
    Mutant("numbers: of others in a volume", "fusefs/ops.c", "	if (id == TREE_ROOT_ID)\n		stats = ", "	stats = ",
           [isolation("df in a volume does not show what others have")]),
    Mutant("processes: the publisher can be looked into", "fusefs/publisher.c", "|| prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ", "",
           [isolation("crun, host's processes: process")]),
    Mutant("control socket: who else is let in is answered", "agent/control.c",
           "	if (!peer_is_allowed(c, rq))\n		return reply_error(rq, MHD_HTTP_FORBIDDEN,",
           "	if (false)\n		return reply_error(rq, MHD_HTTP_FORBIDDEN,", [Test("sandbox.sh", ["even if the socket lets it in"])]),
]
