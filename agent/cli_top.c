/* secretlet top: one screen of what the daemon is doing, once a second. All of it comes from the control socket: counts from
 * the status, states and ages from the pods, how long things take from the metrics. Rates are the differences of what was
 * seen, within a minute at most. */

#include <inttypes.h>
#include <math.h>

#include "agent/listing.h"
#include "agent/screen.h"
#include "common/clock.h"

#define FRAME_USEC   USEC_PER_SEC
#define SAMPLES	     61 /* a minute */
#define WINDOW_USEC  (60 * USEC_PER_SEC)
#define LABEL_COLUMN 13
#define BUCKETS_MAX  32

struct sample {
	uint64_t usec; /* CLOCK_MONOTONIC */
	int64_t n_published, n_requests;
};

/* How long it took until a change could be seen in a volume; of each bucket how many took at most so long. */
struct propagation {
	double bounds[BUCKETS_MAX]; /* seconds */
	uint64_t counts[BUCKETS_MAX];
	size_t n;
};

struct top {
	const struct options *options;
	json_t *status, *rows; /* the last answers; rows are volumes */
	struct propagation propagation;
	struct sample samples[SAMPLES]; /* the oldest first */
	size_t n_samples;
	struct err lost; /* why there was no answer; code 0: there was */
};

static void top_deinit(struct top *t)
{
	json_decref(t->status);
	json_decref(t->rows);
}

/* What is asked */

static void add_sample(struct top *t)
{
	struct sample s = { .usec = clock_monotonic_usec(),
			    .n_published = cli_int(json_object_get(t->status, "publisher"), "published"),
			    .n_requests = cli_int(json_object_get(t->status, "source"), "requests") };
	const struct sample *last = t->n_samples ? &t->samples[t->n_samples - 1] : NULL;
	size_t n_old = 0;

	/* another agent counts from 0 */
	if (last && (s.n_published < last->n_published || s.n_requests < last->n_requests))
		t->n_samples = 0;
	while (n_old < t->n_samples &&
	       (s.usec - t->samples[n_old].usec > WINDOW_USEC || t->n_samples - n_old == SAMPLES))
		n_old++;
	t->n_samples -= n_old;
	memmove(t->samples, t->samples + n_old, t->n_samples * sizeof(*t->samples));
	t->samples[t->n_samples++] = s;
}

/* "secretlet_event_visible_seconds_bucket{type="secret",le="0.001"} 12": all types have the same bounds. */
static void read_bucket(struct propagation *p, const char *line)
{
	static const char prefix[] = "secretlet_event_visible_seconds_bucket{";
	const char *le, *value;
	double bound;
	size_t i = 0;

	if (!str_starts(line, prefix))
		return;
	le = strstr(line, "le=\"");
	value = strstr(line, "} ");
	if (!le || !value)
		return;
	bound = strtod(le + strlen("le=\""), NULL);
	while (i < p->n && p->bounds[i] < bound)
		i++;
	if (i == BUCKETS_MAX)
		return;
	if (i == p->n) {
		p->bounds[i] = bound;
		p->counts[i] = 0;
		p->n++;
	}
	p->counts[i] += strtoull(value + 2, NULL, 10);
}

/* A daemon without metrics has no such path. */
static void fetch_propagation(struct top *t)
{
	cleanup_free char *text = NULL;
	unsigned status = 0;

	t->propagation.n = 0;
	if (client_get_text(t->options->runtime_dir, "/metrics", FRAME_USEC, &status, &text, NULL) < 0 || status != 200)
		return;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		read_bucket(&t->propagation, line);
	}
}

static int fetch(const struct top *t, const char *path, json_t **ret, struct err *e)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	int r;

	r = client_get(t->options->runtime_dir, path, FRAME_USEC, &reply, e);
	if (r < 0)
		return r;
	if (reply.status != 200)
		return err_set(e, -EAGAIN, "%s", cli_str(reply.json, "error"));
	*ret = TAKE_PTR(reply.json);
	return 0;
}

static int fetch_all(struct top *t, struct err *e)
{
	cleanup_json json_t *status = NULL, *pods = NULL, *rows = NULL;
	int r;

	r = fetch(t, "/v1/status", &status, e);
	if (r == 0)
		r = fetch(t, "/v1/pods", &pods, e);
	if (r == 0)
		r = cli_volumes_listing.rows(pods, &rows, e);
	if (r < 0)
		return r;
	json_decref(t->status);
	json_decref(t->rows);
	t->status = TAKE_PTR(status);
	t->rows = TAKE_PTR(rows);
	add_sample(t);
	fetch_propagation(t);
	return 0;
}

/* What is shown */

/* What is wrong first, then what has changed last. */
static int severity(const json_t *volume)
{
	static const char *const states[] = { "failed", "waiting", "publishing" };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (str_eq(cli_str(volume, "state"), states[i]))
			return (int)i;
	return *cli_str(volume, "error") ? (int)ARRAY_SIZE(states) : (int)ARRAY_SIZE(states) + 1;
}

static int compare_volumes(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int r = severity(x) - severity(y);

	return r ? r : strcmp(cli_str(y, "updated"), cli_str(x, "updated"));
}

/* The first n of them, in order. NULL: out of memory. */
static json_t *sorted_rows(const json_t *rows, size_t n)
{
	size_t n_rows = json_array_size(rows);
	cleanup_free json_t **array = calloc(n_rows + 1, sizeof(*array));
	json_t *sorted = json_array();

	if (!array) {
		json_decref(sorted);
		return NULL;
	}
	for (size_t i = 0; i < n_rows; i++)
		array[i] = json_array_get(rows, i);
	qsort(array, n_rows, sizeof(*array), compare_volumes);
	for (size_t i = 0; i < MIN(n, n_rows); i++)
		json_array_append(sorted, array[i]);
	return sorted;
}

static size_t count_state(const struct top *t, const char *state)
{
	const json_t *volume;
	size_t n = 0, i;

	json_array_foreach (t->rows, i, volume)
		n += str_eq(cli_str(volume, "state"), state);
	return n;
}

/* Volumes that have changed within the last minute, by what they say. */
static int64_t count_recent(const struct top *t)
{
	char bound[STR_TIME_MAX];
	const json_t *volume;
	int64_t n = 0;
	size_t i;

	str_format_time(clock_realtime_usec() - WINDOW_USEC, bound);
	json_array_foreach (t->rows, i, volume)
		n += strncmp(cli_str(volume, "updated"), bound, strlen("2026-11-26T11:00:00")) >= 0;
	return n;
}

static const struct sample *first_sample(const struct top *t)
{
	return &t->samples[0];
}

static const struct sample *last_sample(const struct top *t)
{
	return &t->samples[t->n_samples - 1];
}

static void label(struct frame *f, const char *text)
{
	frame_add(f, TABLE_PLAIN, text);
	frame_pad(f, LABEL_COLUMN);
}

static void add_daemon(struct frame *f, const struct top *t)
{
	const json_t *problem, *status = t->status;
	char age[STR_AGE_MAX];
	size_t i;

	frame_addf(f, TABLE_PLAIN, "secretlet %s on %s, up %s: ", cli_str(status, "version"),
		   cli_str(status, "nodeName"), cli_age(cli_int(status, "uptimeSeconds"), age));
	if (t->lost.code) {
		frame_add(f, TABLE_BAD, err_text(&t->lost));
	} else if (cli_bool(status, "healthy")) {
		frame_add(f, TABLE_GOOD, "healthy");
	} else {
		frame_add(f, TABLE_BAD, "not healthy");
		json_array_foreach (json_object_get(status, "problems"), i, problem)
			frame_addf(f, TABLE_PLAIN, "%s%s", i ? "; " : ": ", json_string_value(problem) ?: "");
	}
	frame_end_line(f);
}

static void add_source(struct frame *f, const struct top *t)
{
	const json_t *source = json_object_get(t->status, "source");
	bool connected = cli_bool(source, "connected");
	char age[STR_AGE_MAX];

	label(f, "source");
	frame_addf(f, TABLE_PLAIN, "%s %s: ", cli_str(source, "kind"), cli_str(source, "location"));
	frame_add(f, connected ? TABLE_GOOD : TABLE_BAD, connected ? "connected" : "not connected");
	frame_addf(f, TABLE_PLAIN, ", last answer %s ago", cli_since(cli_str(source, "lastContact"), age));
	if (*cli_str(source, "nextTry"))
		frame_addf(f, TABLE_PLAIN, ", next try in %s", cli_until(cli_str(source, "nextTry"), age));
	frame_end_line(f);
	label(f, "API");
	frame_addf(f, TABLE_PLAIN,
		   "%" PRIi64 " connections, %" PRIi64 " watches, %" PRIi64 " requests, %" PRIi64 "/min",
		   cli_int(source, "connections"), cli_int(source, "watches"), cli_int(source, "requests"),
		   last_sample(t)->n_requests - first_sample(t)->n_requests);
	frame_end_line(f);
}

static void add_state(struct frame *f, size_t n, const char *state, enum table_style style)
{
	frame_addf(f, n ? style : TABLE_PLAIN, ", %zu %s", n, state);
}

static void add_volumes(struct frame *f, const struct top *t)
{
	label(f, "volumes");
	frame_addf(f, TABLE_PLAIN, "%zu: ", json_array_size(t->rows));
	frame_addf(f, TABLE_GOOD, "%zu ready", count_state(t, "ready"));
	add_state(f, count_state(t, "publishing"), "publishing", TABLE_BUSY);
	add_state(f, count_state(t, "waiting"), "waiting", TABLE_BUSY);
	add_state(f, count_state(t, "failed"), "failed", TABLE_BAD);
	add_state(f, (size_t)cli_int(json_object_get(t->status, "volumes"), "stale"), "outdated", TABLE_BUSY);
	frame_end_line(f);
}

/* Both are less than what there was: one sees a volume once only, the other nothing before the start. */
static void add_rotations(struct frame *f, const struct top *t)
{
	const json_t *publisher = json_object_get(t->status, "publisher");
	int64_t seen = last_sample(t)->n_published - first_sample(t)->n_published;

	label(f, "rotations");
	frame_addf(f, TABLE_PLAIN, "%" PRIi64 "/min; %" PRIi64 " published, %" PRIi64 " queued",
		   MAX(seen, count_recent(t)), cli_int(publisher, "published"), cli_int(publisher, "queued"));
	frame_end_line(f);
}

/* "half within 2ms": the bound that this share of all is below; "over 60s", if it is above the last one. */
static void add_quantile(struct frame *f, const struct propagation *p, double share, const char *what)
{
	double total = (double)p->counts[p->n - 1], seconds;
	const char *word = "within";
	size_t i = 0;

	while (i + 1 < p->n && (double)p->counts[i] < share * total)
		i++;
	seconds = p->bounds[i];
	if (isinf(seconds)) {
		word = "over";
		seconds = i > 0 ? p->bounds[i - 1] : 0;
	}
	if (seconds >= 1)
		frame_addf(f, TABLE_PLAIN, "%s %s %gs", what, word, seconds);
	else
		frame_addf(f, TABLE_PLAIN, "%s %s %gms", what, word, seconds * 1000);
}

static void add_propagation(struct frame *f, const struct top *t)
{
	const struct propagation *p = &t->propagation;
	uint64_t total = p->n ? p->counts[p->n - 1] : 0;

	label(f, "propagation");
	if (total == 0) {
		frame_add(f, TABLE_PLAIN, "-");
	} else {
		add_quantile(f, p, 0.5, "half");
		add_quantile(f, p, 0.99, ", 99%");
		frame_addf(f, TABLE_PLAIN, ", of %" PRIu64, total);
	}
	frame_end_line(f);
}

static void add_errors(struct frame *f, const struct top *t)
{
	const json_t *source = json_object_get(t->status, "source");
	int64_t n_rejected = cli_int(source, "rejected");
	int64_t n_failed = cli_int(json_object_get(t->status, "publisher"), "failed");
	int64_t n_refused = cli_int(json_object_get(t->status, "fuse"), "refused");
	int64_t n_dropped = cli_int(json_object_get(t->status, "log"), "dropped");
	const char *last = cli_str(source, "lastError");

	label(f, "errors");
	frame_addf(f, n_rejected ? TABLE_BAD : TABLE_PLAIN, "%" PRIi64 " rejected", n_rejected);
	frame_addf(f, n_failed ? TABLE_BAD : TABLE_PLAIN, ", %" PRIi64 " not published", n_failed);
	frame_addf(f, TABLE_PLAIN, ", %" PRIi64 " refused, %" PRIi64 " log lines dropped", n_refused, n_dropped);
	if (*last)
		frame_addf(f, TABLE_BAD, "; %s", last);
	frame_end_line(f);
}

static void add_cells(struct frame *f, const struct table *table, size_t row, const size_t *widths,
		      const struct listing_column *const *columns)
{
	size_t at = 0;

	for (size_t i = 0; columns[i]; i++) {
		const char *text = table_text(table, row, i);
		bool coloured = columns[i]->state && row > 0;

		frame_pad(f, at);
		frame_add(f, coloured ? cli_volume_style(text) : TABLE_PLAIN, text);
		at += widths[i] + 2;
	}
	frame_end_line(f);
}

/* As many as there is room for. */
static void add_table(struct frame *f, const struct top *t)
{
	const struct listing_column *columns[LISTING_COLUMNS_MAX];
	size_t widths[LISTING_COLUMNS_MAX] = { 0 };
	cleanup_json json_t *rows = NULL;
	cleanup_table struct table *table = NULL;

	frame_end_line(f);
	if (frame_is_full(f))
		return;
	rows = sorted_rows(t->rows, f->rows - f->row - 1);
	if (!rows || listing_table(&cli_volumes_listing, OUTPUT_TABLE, rows, columns, &table) != CLI_OK) {
		f->r = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < table_rows(table); i++)
		if (table_measure_row(table, i, widths) < 0)
			f->r = -ENOMEM;
	for (size_t i = 0; f->r == 0 && i < table_rows(table); i++)
		add_cells(f, table, i, widths, columns);
}

static void top_frame(const struct top *t, struct frame *f)
{
	add_daemon(f, t);
	add_source(f, t);
	add_volumes(f, t);
	add_rotations(f, t);
	add_propagation(f, t);
	add_errors(f, t);
	add_table(f, t);
}

static int print_once(const struct top *t)
{
	cleanup_frame struct frame f = FRAME_INIT;

	f.colour = table_wants_colour(stdout);
	top_frame(t, &f);
	if (f.r < 0)
		return cli_fail_memory();
	fwrite(f.text.data, 1, f.text.len, stdout);
	return CLI_OK;
}

/* Until it is ended; *ret_signal: by a signal. */
static int run(struct top *t, struct screen *s, bool *ret_signal)
{
	cleanup_frame struct frame f = FRAME_INIT;
	uint64_t due_usec = clock_monotonic_usec() + FRAME_USEC;

	for (;;) {
		uint64_t now;
		char key = 0;
		int r;

		screen_frame(s, &f);
		top_frame(t, &f);
		r = screen_draw(s, &f);
		if (r < 0)
			return r;
		now = clock_monotonic_usec();
		switch (screen_wait(s, due_usec > now ? due_usec - now : 0, &key)) {
		case SCREEN_ENDED:
			*ret_signal = true;
			return 0;
		case SCREEN_KEY:
			if (key == 'q')
				return 0;
			break;
		case SCREEN_CHANGED:
			break;
		case SCREEN_DUE:
			t->lost = ERR_INIT;
			r = fetch_all(t, &t->lost);
			if (r < 0 && r != -ENOTCONN && r != -ETIMEDOUT && r != -ECONNRESET && r != -EAGAIN)
				return r;
			due_usec = clock_monotonic_usec() + FRAME_USEC;
			break;
		}
	}
}

static bool is_screen(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !str_empty(term) && !str_eq(term, "dumb");
}

int cli_top(const struct options *o, char *const *words)
{
	cleanup(top_deinit) struct top t = { .options = o };
	struct screen *s = NULL;
	struct err e = ERR_INIT;
	bool by_signal = false;
	int r;

	r = fetch_all(&t, &e);
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	if (o->batch || !is_screen())
		return print_once(&t);
	r = screen_open(&s, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	r = run(&t, s, &by_signal);
	if (by_signal) {
		screen_die(s);
		return CLI_FAILED;
	}
	screen_close(s);
	if (r == -EIO)
		return CLI_FAILED; /* there is no terminal to say it on */
	if (r < 0) {
		err_set(&e, r, "%s", t.lost.code ? err_text(&t.lost) : strerror(-r));
		return cli_fail(cli_request_status(r), &e);
	}
	return CLI_OK;
}
