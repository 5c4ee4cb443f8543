/* Advice: written for somebody who was woken up. The text says what the case means and what ends it; a command is one that
 * can be copied as it is, or looks at what has to be looked at. */
#include "agent/advice.h"

#include <ctype.h>

#include "common/buf.h"
#include "common/str.h"

#define TEXT_MAX ((size_t)64 * 1024)
#define WORD_MAX ((size_t)32)

#define BY_ITSELF "The volume follows by itself; nothing has to be restarted."
#define LOG	  "journalctl -u secretlet -n 50 --no-pager"

static const struct advice table[] = {
	/* of an object */
	{ "NotFetched",
	  "Nobody knows yet what is in it: it has been asked for and the answer has not come. That takes moments; if "
	  "it "
	  "lasts, the source is the trouble.",
	  { "secretlet status", LOG } },
	{ "SecretNotFound",
	  "Secret {ns}/{name} does not exist. Create it, correct the name in the pod, or mark it optional. " BY_ITSELF,
	  { "kubectl -n {ns} get secret {name}", "kubectl -n {ns} create secret generic {name} {files}" },
	  "No manifest in {location} has a Secret {ns}/{name}. Add one, correct the name in the pod, or mark it "
	  "optional. " BY_ITSELF,
	  { "secretlet check {location}" } },
	{ "ConfigMapNotFound",
	  "ConfigMap {ns}/{name} does not exist. Create it, correct the name in the pod, or mark it "
	  "optional. " BY_ITSELF,
	  { "kubectl -n {ns} get configmap {name}", "kubectl -n {ns} create configmap {name} {files}" },
	  "No manifest in {location} has a ConfigMap {ns}/{name}. Add one, correct the name in the pod, or mark it "
	  "optional. " BY_ITSELF,
	  { "secretlet check {location}" } },
	{ "KeyNotFound",
	  "The pod asks for {missing}, and {Kind} {ns}/{name} has {available}. Correct items[].key in the pod, add the "
	  "key to the {Kind}, or mark the source optional. " BY_ITSELF,
	  { "kubectl -n {ns} edit {kind} {name}" },
	  NULL,
	  { "secretlet check {location}" } },
	{ "OptionalNotFound",
	  "It is optional, so the volume is shown without it. It is added as soon as it exists.",
	  { NULL } },
	{ "OptionalKeyNotFound",
	  "The source is optional, so the volume is shown without {missing}. {Kind} {ns}/{name} has {available}.",
	  { NULL } },
	{ "NoTokens",
	  "Service account tokens are made by an API server, and here a folder of manifests takes its place. Take the "
	  "serviceAccountToken out of the projected volume, or run secretlet with a kubeconfig.",
	  { NULL } },
	{ "TokenForbidden",
	  "The API server knows {user} and does not let it make a token of ServiceAccount {ns}/{account}: that takes "
	  "the verb create on serviceaccounts/token. The Node authorizer allows it only while a pod of that "
	  "ServiceAccount is bound to {node}; any other identity needs a Role with it. It is tried again by itself.",
	  { "kubectl auth can-i create serviceaccounts/{account} --subresource=token -n {ns} {as}",
	    "kubectl -n {ns} get pod {pod} -o jsonpath={{.spec.nodeName}" } },
	{ "ServiceAccountNotFound",
	  "A token is made of the pod's ServiceAccount, and {ns}/{account} does not exist. Create it, or correct "
	  "serviceAccountName in the pod's template. " BY_ITSELF,
	  { "kubectl -n {ns} get serviceaccount {account}", "kubectl -n {ns} create serviceaccount {account}" } },
	{ "ObjectInvalid",
	  "The API server holds something that cannot be shown as files; the message names the field. What was shown "
	  "before stays until it is corrected.",
	  { "kubectl -n {ns} edit {kind} {name}" } },
	{ "ManifestInvalid",
	  "A manifest is refused; the message has file, line and column. What was good before stays until it is "
	  "corrected.",
	  { "secretlet check {location}" } },
	{ "SealedValueUnreadable",
	  "A sealed value cannot be opened: it is sealed to another key, for another name or namespace, or this node "
	  "has "
	  "no private key for it (sealedSecretsKeyFile). Seal it again to this node's public key.",
	  { "secretlet seal --public-key sealing.pub secret.yaml" } },
	{ "SecretMemoryFull",
	  "The locked memory for Secrets is used up. Raise secretMemoryLimit in the configuration, and LimitMEMLOCK of "
	  "the unit with it. The limit is the mount's, with which a restart goes on: it takes a stop and a start, and "
	  "then all containers that have volumes mounted have to be started again.",
	  { "secretlet status", "systemctl edit secretlet", "systemctl stop secretlet && systemctl start secretlet" } },
	/* of the source */
	{ "SourceUnusable",
	  "The kubeconfig, a file that it names, or the folder of manifests is missing or wrong; the message says "
	  "which. "
	  "What is shown stays as it is. Put it right: it is tried again every half minute at the latest, and at once "
	  "with a reload.",
	  { LOG, "systemctl reload secretlet" } },
	{ "ApiServerUnreachable",
	  "No answer comes from {server}. What is shown stays as it is, and everything is brought up to date as soon "
	  "as it "
	  "answers; pods that are new to this node wait until then.",
	  { "curl -sk -m 5 {server}/readyz", LOG } },
	{ "CertificateExpired",
	  "The API server's certificate has expired, by this node's clock. Renew it, or correct the clock.",
	  { "openssl s_client -connect {hostport} </dev/null 2>/dev/null | openssl x509 -noout -dates",
	    "timedatectl" } },
	{ "CertificateNotYetValid",
	  "The API server's certificate begins in the future, by this node's clock: the clock is slow, or that of the "
	  "machine that made the certificate is fast.",
	  { "timedatectl",
	    "openssl s_client -connect {hostport} </dev/null 2>/dev/null | openssl x509 -noout -dates" } },
	{ "CertificateUnknownAuthority",
	  "The API server's certificate is from an authority that the kubeconfig does not name: certificate-authority "
	  "is "
	  "that of another or of an earlier cluster, or somebody is in between.",
	  { "openssl s_client -connect {hostport} </dev/null 2>/dev/null | openssl x509 -noout -issuer -subject" } },
	{ "CertificateWrongName",
	  "The API server's certificate is for another name than the one it is called by. Correct the server's URL in "
	  "the "
	  "kubeconfig, or set tls-server-name there.",
	  { "openssl s_client -connect {hostport} </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName" } },
	{ "TLSFailed",
	  "No encrypted connection comes about. The server may refuse this node's client certificate, or speak no TLS.",
	  { "openssl s_client -connect {hostport} </dev/null", LOG } },
	{ "Unauthorized",
	  "The API server does not know who this node is: the token or the client certificate of the kubeconfig has "
	  "expired or was revoked. New ones are read by themselves from the files that the kubeconfig names; what "
	  "stands in the kubeconfig itself takes a restart.",
	  { "openssl x509 -noout -enddate -subject -in CLIENT-CERTIFICATE", "timedatectl" } },
	{ "Forbidden",
	  "The API server knows {user} and does not let it read {Kind} {ns}/{name}. The Node authorizer allows an "
	  "object only "
	  "while a "
	  "pod that is bound to {node} refers to it; any other identity needs a Role with get, list and watch. It is "
	  "tried "
	  "again by itself.",
	  { "kubectl auth can-i get {kinds}/{name} -n {ns} {as}",
	    "kubectl -n {ns} get pod {pod} -o jsonpath={{.spec.nodeName}" } },
	{ "ForbiddenPods",
	  "The API server knows {user} and does not let it list the pods of node {node}, and so no pod is known. The "
	  "Node authorizer allows that to the user system:node:{node} of the group system:nodes; any other identity "
	  "needs a ClusterRole with get, list and watch on pods. It is tried again by itself.",
	  { "kubectl auth can-i list pods --all-namespaces {as}", "kubectl auth can-i watch pods --all-namespaces {as}",
	    LOG } },
	{ "NotFoundAtServer",
	  "Whoever answers at {server} knows no such path: it is no Kubernetes API server, or a proxy in between.",
	  { "curl -sk {server}/version" } },
	{ "TooManyRequests",
	  "The API server is overloaded and says so. It is asked again, more and more seldom, until it answers.",
	  { "kubectl get --raw /readyz?verbose" } },
	{ "ApiServerError",
	  "The API server answers with an error of its own. It is asked again by itself; what is shown stays.",
	  { "kubectl get --raw /readyz?verbose" } },
	{ "AnswerInvalid",
	  "What answers at {server} does not speak as an API server does: a login page, a proxy or another program.",
	  { "curl -sk {server}/version" } },
	{ "AnswerTooLarge", "The answer is longer than any that is accepted (see LIMITS in secretlet(8)).", { LOG } },
	{ "PodListDoubted",
	  "The API server says that pods are gone from {node}, all of them, or some after it has gone back to an older "
	  "state; or it has not told of the node's pods since it was away. That is not believed until each known one "
	  "was "
	  "asked for, and all once more some minutes later: the server's storage may be empty or of an old backup, or "
	  "the server another cluster's. Nothing is taken away meanwhile.",
	  { "kubectl get pods -A --field-selector spec.nodeName={node}" } },
	{ "NoRoomForPod",
	  "The pods of {node} have more volumes than there is room for (see LIMITS in secretlet(8)). The pod comes as "
	  "soon as others have gone or finished; these stay as they are.",
	  { "kubectl get pods -A --field-selector spec.nodeName={node}" } },
	/* of the volume */
	{ "StaticPod",
	  "It is the mirror of a static pod of the kubelet's, and those may not refer to Secrets. Make it a pod of a "
	  "DaemonSet, or put the manifest where secretlet reads it.",
	  { NULL } },
	{ "VolumeInvalid",
	  "The pod's volume cannot be shown as it is specified; the message names the field. A pod's volumes cannot be "
	  "changed: correct the template, and make the pod anew.",
	  { "kubectl -n {podns} get pod {pod} -o yaml" },
	  "The pod's volume cannot be shown as it is specified; the message names the field. Correct the manifest.",
	  { "secretlet check {location}" } },
	{ "VolumeOptionInvalid",
	  "The annotation that asks for something about this volume is wrong, and it is not shown otherwise than it "
	  "was "
	  "asked for. Correct the annotation: that takes effect at once. secretlet-volumes(7) has the options.",
	  { "kubectl -n {podns} get pod {pod} -o jsonpath={{.metadata.annotations}" },
	  NULL,
	  { "secretlet check {location}" } },
	{ "LayoutUnchangeable",
	  "What is shown is right; only its layout is that of the time when the volume was made. To have the other "
	  "one, "
	  "delete the pod and let it be made anew.",
	  { "kubectl -n {podns} delete pod {pod}" },
	  "What is shown is right; only its layout is that of the time when the volume was made. A pod with another "
	  "uid "
	  "gets the other one.",
	  { NULL } },
	{ "PathInvalid",
	  "A path in the volume cannot be a file: it is absolute, has .. in it, is too long, or is a folder for "
	  "another one. "
	  "Correct items[].path in the pod's template.",
	  { "kubectl -n {podns} get pod {pod} -o yaml" },
	  NULL,
	  { "secretlet check {location}" } },
	{ "MountPathInvalid",
	  "A container's mountPath leads out of its root. Correct it in the pod's template.",
	  { "kubectl -n {podns} get pod {pod} -o yaml" },
	  NULL,
	  { "secretlet check {location}" } },
	{ "TooLarge",
	  "The volume has more files, folders or bytes than one may have, or a path of too many names (see LIMITS in "
	  "secretlet(8)). No field raises these limits: split it into several volumes, or shorten its paths.",
	  { NULL } },
	{ "FieldInvalid",
	  "The pod asks for a field or a container's resource that there is not. Correct fieldRef or resourceFieldRef "
	  "in "
	  "the pod's template.",
	  { "kubectl -n {podns} get pod {pod} -o yaml" } },
	{ "NodeNotFetched",
	  "The volume shows a limit that the container does not have, which is then all that the node has, and the "
	  "Node "
	  "object has not come yet.",
	  { "kubectl get node {node}",
	    "kubectl auth can-i get nodes/{node} --as=system:node:{node} --as-group=system:nodes" } },
	{ "PublishFailed",
	  "The content is there, and putting it into the tree failed. It is tried again by itself. ENOMEM and ENOSPC: "
	  "the "
	  "node is out of memory.",
	  { "secretlet status", LOG } },
	{ "FolderHeld",
	  "A process lists a folder of the volume into memory that does not come, as that of a mapped file whose "
	  "server "
	  "does not answer, and so keeps the folder locked. What is shown can be read. The change comes when that "
	  "process, or the pod, "
	  "has ended. In a flat volume it may also be a process of any pod that waits in rename(2), in a mount that "
	  "its runtime has not made read-only; the log says so.",
	  { "ps -eo pid,stat,wchan:32,cgroup,args", LOG } },
	{ "RenameHeld",
	  "The kernel lets one at a time rename between folders, and the publisher waits for that, or with it, in "
	  "another pod's flat volume. Nothing is wrong with this volume: what is shown can be read, and the change "
	  "comes when that publisher has ended. The message has the uid of that pod, whose volumes have the reason "
	  "FolderHeld.",
	  { "secretlet pods -o wide", "ps -eo pid,stat,wchan:32,cgroup,args", LOG } },
	{ "OutOfMemory",
	  "The agent has no memory left. It is tried again by itself; look at MemoryMax of the unit and at the node.",
	  { "systemctl show secretlet -p MemoryCurrent -p MemoryMax", "free -m" } },
	{ "Other", "The message says what is known; the log may say more.", { LOG } },
	/* of the pod, and of the daemon: explain.c's own */
	{ "Ready",
	  "The whole folder is bind-mounted into a container, and not its files. For an OCI runtime:",
	  { "secretlet mounts {podns}/{pod} CONTAINER" } },
	{ "LastGoodShown",
	  "What containers read is whole, and older than what the source has or would have. Why, is said with it.",
	  { NULL } },
	{ "Publishing", "It is on its way for the first time. That takes milliseconds.", { "secretlet status" } },
	{ "FromOfflineCache",
	  "The source has not told this pod since the daemon was started; what is shown is from the offline cache, as "
	  "it "
	  "was then.",
	  { "secretlet status" } },
	{ "AnnotationInvalid",
	  "Part of what the pod asks for by annotation is not done. Correct the annotation: that takes effect at once.",
	  { "kubectl -n {podns} get pod {pod} -o jsonpath={{.metadata.annotations}" },
	  NULL,
	  { "secretlet check {location}" } },
	{ "NoVolumes",
	  "None of the pod's containers mounts a volume of type secret, configMap, downwardAPI or projected. A volume "
	  "that no "
	  "container mounts is not set up, as under the kubelet; the other types are the container runtime's.",
	  { NULL } },
	{ "VolumeUnknown",
	  "The pod has {volumes}. A volume that no container mounts is not set up, as under the kubelet; types other "
	  "than "
	  "secret, configMap, downwardAPI and projected are the container runtime's.",
	  { "kubectl -n {podns} get pod {pod} -o jsonpath={{.spec.volumes[*].name}" },
	  NULL,
	  { NULL } },
	{ "PodFinished",
	  "The pod has run to its end (phase {phase}), and its volumes went with it. Only a new pod has volumes again.",
	  { NULL } },
	{ "PodTerminating", "The pod is being deleted; its volumes stay until it is gone.", { NULL } },
	{ "PodPostponed",
	  "There was no memory to set up the pod's newest revision. It is tried again by itself.",
	  { "systemctl show secretlet -p MemoryCurrent -p MemoryMax" } },
	{ "PodUnknown",
	  "No pod of that name is bound to node {node}. {known} If it is there and runs on another node, that node's "
	  "secretlet shows its volumes; if its nodeName is empty, the scheduler has found no node yet.",
	  { "kubectl -n {podns} get pod {pod} -o wide", "secretlet pods" },
	  "No manifest in {location} has a pod of that name for node {node} (spec.nodeName must be empty or this "
	  "node's). "
	  "{known}",
	  { "secretlet check {location}" } },
	{ "PodRefused",
	  "The API server has it, and it cannot be set up as it is; the message names the field. A pod can hardly be "
	  "changed: correct the template, and make the pod anew.",
	  { "kubectl -n {podns} get pod {pod} -o yaml" },
	  "A manifest has it and is refused; the message has file, line and column. It is read again as soon as it is "
	  "changed.",
	  { "secretlet check {file}" } },
	{ "PodRevisionRefused",
	  "What is shown is as the revision before has it, and stays until the newest one makes sense; the message "
	  "names "
	  "the field.",
	  { "kubectl -n {podns} get pod {pod} -o yaml" },
	  "What is shown is as the manifest had it before, and stays until the manifest is corrected; the message has "
	  "file, line and column.",
	  { "secretlet check {file}" } },
	{ "PodsNotKnown",
	  "The pods of this node have not been listed yet since the daemon was started. What was shown before stays "
	  "until "
	  "then.",
	  { "secretlet status", LOG } },
	{ "Disconnected", "The connection is being made anew. What is shown stays as it is.", { "secretlet status" } },
	{ "PublisherNotRunning",
	  "The process that puts volumes into the tree is being restarted. What is shown can be read; changes wait "
	  "until it "
	  "is back.",
	  { LOG } },
	{ "PublisherHangs",
	  "The process that puts volumes into the tree is there and does not answer: it was stopped, or waits for "
	  "something. What is shown can be read; changes wait. It is ended and replaced when it has not answered for "
	  "agentHangTimeout.",
	  { "ps -o pid,stat,wchan:32,args -C secretlet", LOG } },
	{ "PublishersAside",
	  "Each waits in the kernel for a folder that a process in a pod keeps locked, and cannot be killed; another "
	  "has "
	  "taken its place, and that pod gets no changes (FolderHeld). Where it is a flat volume's folder, flat "
	  "volumes of other pods get none, either (RenameHeld). With more than 16 of "
	  "them nothing is published "
	  "until one has ended. ERROR in the table, and the reason with -o json, say which ones these are.",
	  { "secretlet volumes", "ps -o pid,stat,wchan:32,args -C secretlet", LOG } },
	{ "MemoryNotLocked",
	  "Secrets could be written to swap. Raise LimitMEMLOCK of the unit above secretMemoryLimit, and restart the "
	  "daemon.",
	  { "systemctl show secretlet -p LimitMEMLOCK", "systemctl edit secretlet", "systemctl restart secretlet" } },
	{ "OfflineCacheFailed",
	  "What would be shown after a reboot without an API server is not up to date. What is shown now is not "
	  "concerned.",
	  { "secretlet cache verify" } },
	{ "AuditNotRunning", "Opens of Secrets are not recorded. What is shown is not concerned.", { LOG } },
	{ "SignalsNotRunning",
	  "Containers that asked for a signal on changes (onChange) get none. What is shown is not concerned.",
	  { LOG } },
	{ "KernelLacks",
	  "This kernel is older than what secretlet can make use of; CAVEATS in secretlet(8) says what is "
	  "lost.",
	  { "uname -r" } },
	{ "NotMounted",
	  "Nothing of secretlet's is mounted there in this mount namespace: the shell is in a container or another "
	  "namespace, or somebody has unmounted it. Containers that run go on with theirs, updates included, until the "
	  "daemon is restarted: that mounts another one, and they have to be started again after it.",
	  { "findmnt -T {podsDir}", "nsenter -t 1 -m findmnt -T {podsDir}", "systemctl restart secretlet" } },
	{ "MountDead",
	  "The file system's connection was ended: all that is below answers with an error. Restart the daemon; "
	  "containers "
	  "that had the old one mounted must be restarted, too.",
	  { "systemctl restart secretlet", LOG } },
	{ "NoDaemon",
	  "What was shown and read before can still be read; nothing new is shown until the daemon runs.",
	  { "systemctl status secretlet --no-pager", LOG, "systemctl start secretlet" } },
	{ "DaemonSilent",
	  "Somebody listens and does not answer. The watchdog ends an agent that hangs; look again in a moment.",
	  { "systemctl status secretlet --no-pager", LOG } },
	{ "NotAllowed",
	  "Ask as root, or as a member of controlSocketGroup (secretlet.yaml(5)).",
	  { "sudo secretlet explain {ref}" } },
};

const struct advice *advice_at(size_t i)
{
	return i < ARRAY_SIZE(table) ? &table[i] : NULL;
}

const struct advice *advice_find(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (str_eq(table[i].code, code))
			return &table[i];
	return NULL;
}

static bool is_plain(const char *word)
{
	return *word &&
	       word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/:=@%+,")] == 0;
}

static int add_quoted(struct buf *out, const char *word)
{
	int r = buf_add_str(out, "'");

	for (; *word && r == 0; word++)
		r = *word == '\'' ? buf_add_str(out, "'\\''") : buf_add(out, word, 1);
	return r < 0 ? r : buf_add_str(out, "'");
}

static int add_word(struct buf *out, const char *name, const json_t *words, bool shell)
{
	const json_t *value = json_object_get(words, name);
	const char *text = json_string_value(value);
	const json_t *part;
	size_t i;
	int r = 0;

	/* several words of a command */
	if (json_is_array(value)) {
		json_array_foreach (value, i, part) {
			const char *word = json_string_value(part) ?: "";

			if (r == 0 && i > 0)
				r = buf_add_str(out, " ");
			if (r == 0)
				r = is_plain(word) ? buf_add_str(out, word) : add_quoted(out, word);
		}
		return r;
	}
	if (text)
		return shell && !is_plain(text) ? add_quoted(out, text) : buf_add_str(out, text);
	for (; *name && r == 0; name++)
		r = buf_printf(out, "%c", toupper((unsigned char)*name));
	return r;
}

char *advice_expand(const char *text, const json_t *words, bool shell)
{
	cleanup_buf struct buf out = BUF_INIT(TEXT_MAX);
	int r = 0;

	while (*text && r == 0) {
		size_t plain = strcspn(text, "{"), len;
		char name[WORD_MAX];

		if (plain > 0) {
			r = buf_add(&out, text, plain);
			text += plain;
			continue;
		}
		len = strcspn(text, "}");
		/* "{{.a}" is "{.a}", as a jsonpath is written: quoted, for the shell */
		if (text[1] == '{') {
			char path[64];

			snprintf(path, sizeof(path), "%.*s", (int)len, text + 1);
			r = shell ? add_quoted(&out, path) : buf_add_str(&out, path);
		} else {
			snprintf(name, sizeof(name), "%.*s", (int)(len - 1), text + 1);
			r = add_word(&out, name, words, shell);
		}
		text += len;
		text += *text == '}';
	}
	return r < 0 ? NULL : buf_take(&out);
}
