/* Frames: a stream that is cut anywhere gives the same documents as the whole, in memory that is bounded. */
#include "test/fuzz/fuzz.h"

#include "agent/frames.h"
#include "common/buf.h"

enum { DOCUMENT_MAX = 512, STOP_BYTE = 0x7f };

struct told {
	struct buf text; /* documents, a newline behind each */
	size_t n;
	bool stopped; /* the receiver has ended the feeding */
};

static int take(void *userdata, const char *doc, size_t len)
{
	struct told *t = userdata;

	FUZZ_CHECK(!t->stopped);
	FUZZ_CHECK(len > 0 && len <= DOCUMENT_MAX);
	FUZZ_CHECK(!memchr(doc, '\n', len));
	FUZZ_CHECK(buf_add(&t->text, doc, len) == 0 && buf_add_str(&t->text, "\n") == 0);
	t->n++;
	t->stopped = doc[0] == STOP_BYTE;
	return t->stopped ? 1 : 0;
}

static int feed(struct frames *f, struct fuzz_input piece, struct told *t)
{
	cleanup_free char *exact = malloc(piece.len);
	int r;

	if (piece.len > 0)
		memcpy(exact, piece.data, piece.len);
	r = frames_feed(f, exact, piece.len, take, t);
	FUZZ_CHECK(r == 0 || r == -EFBIG || (r == 1 && t->stopped));
	FUZZ_CHECK(frames_pending(f) <= DOCUMENT_MAX);
	return r;
}

/* What the stream means, told byte by byte. */
static int expect(struct fuzz_input stream, struct told *t)
{
	char doc[DOCUMENT_MAX + 1];
	size_t len = 0, n_blank = 0; /* n_blank: bytes of blank lines since the last document */

	for (size_t i = 0; i < stream.len; i++) {
		char c = (char)stream.data[i];
		bool blank = true;

		if (c != '\n') {
			if (len == DOCUMENT_MAX)
				return -EFBIG;
			doc[len++] = c;
			continue;
		}
		for (size_t k = 0; k < len; k++)
			blank &= doc[k] == ' ' || doc[k] == '\t' || doc[k] == '\r';
		n_blank = blank ? n_blank + len + 1 : 0;
		if (n_blank > DOCUMENT_MAX)
			return -EFBIG;
		if (!blank && take(t, doc, len) > 0)
			return 1;
		len = 0;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	struct fuzz_input cuts = fuzz_take(&in, fuzz_u8(&in)), rest = in;
	struct told cut = { .text = BUF_INIT(2 * size + 1) }, whole = { .text = BUF_INIT(2 * size + 1) };
	struct frames f = FRAMES_INIT(DOCUMENT_MAX);
	int r = 0, r_whole = expect(in, &whole);

	while (rest.len > 0 && r == 0)
		r = feed(&f, fuzz_take(&rest, cuts.len > 0 ? fuzz_u8(&cuts) : rest.len), &cut);
	FUZZ_CHECK(r == r_whole);
	FUZZ_CHECK(cut.n == whole.n && cut.text.len == whole.text.len);
	FUZZ_CHECK(whole.text.len == 0 || memcmp(cut.text.data, whole.text.data, whole.text.len) == 0);
	frames_reset(&f);
	FUZZ_CHECK(frames_pending(&f) == 0);
	frames_deinit(&f);
	buf_deinit(&cut.text);
	buf_deinit(&whole.text);
	return 0;
}
