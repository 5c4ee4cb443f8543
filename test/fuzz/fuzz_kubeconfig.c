/* Kubeconfig: the text of the file, and the texts that a token file and a PEM file have. */
#include "test/fuzz/fuzz.h"

#include <sys/mman.h>

#include "agent/kubeconfig.h"
#include "common/json.h"
#include "common/str.h"

static int memory_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void check(const struct kubeconfig *k)
{
	const char *const files[] = { k->token_file, k->ca_file, k->cert_file, k->key_file };

	FUZZ_CHECK(k->server && *k->server);
	FUZZ_CHECK(!k->client_cert == !k->client_key);
	FUZZ_CHECK(!k->ca || strstr(k->ca, "-----BEGIN CERTIFICATE-----"));
	FUZZ_CHECK(!k->client_cert || strstr(k->client_cert, "-----BEGIN CERTIFICATE-----"));
	FUZZ_CHECK(!k->client_key ||
		   (strstr(k->client_key, "PRIVATE KEY-----") && !strstr(k->client_key, "ENCRYPTED")));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		FUZZ_CHECK(!files[i] || files[i][0] == '/');
	for (const char *c = k->token ?: ""; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void try_file(const uint8_t *data, size_t size)
{
	cleanup_kubeconfig struct kubeconfig *k = NULL;
	struct err e = ERR_INIT;
	char path[64];
	int fd = memory_file(data, size), r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = kubeconfig_load(path, &k, &e);
	close(fd);
	FUZZ_CHECK((r == 0) == (k != NULL));
	if (r < 0) {
		FUZZ_CHECK(*err_text(&e));
		return;
	}
	check(k);
}

static void try_token(const uint8_t *data, size_t size)
{
	cleanup_secret char *token = NULL;
	int fd = memory_file(data, size);

	if (kubeconfig_read_token(fd, "token", &token, NULL) == 0) {
		FUZZ_CHECK(*token && strlen(token) <= KUBECONFIG_TOKEN_MAX);
		for (const char *c = token; *c; c++)
			FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
	}
	close(fd);
}

static void try_pem(const uint8_t *data, size_t size, enum kubeconfig_pem kind)
{
	cleanup_secret char *text = NULL;
	int fd = memory_file(data, size);

	if (kubeconfig_read_pem(fd, "pem", kind, &text, NULL) == 0)
		FUZZ_CHECK(strstr(text, "-----BEGIN "));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	uint8_t what = fuzz_u8(&in);

	json_setup();
	switch (what) {
	case 't':
		try_token(in.data, in.len);
		break;
	case 'p':
		try_pem(in.data, in.len, fuzz_u8(&in) % 3);
		break;
	default:
		try_file(data, size);
	}
	return 0;
}
