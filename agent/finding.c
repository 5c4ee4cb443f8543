/* Finding: parts for programs, and one line for people; a foreign name in it can neither forge a line nor steer a
 * terminal. */
#include "agent/finding.h"

#include "agent/table.h"
#include "common/str.h"

static int copy(const char *text, char **ret)
{
	if (!text)
		return 0;
	*ret = table_escape(text);
	return *ret ? 0 : -ENOMEM;
}

static char *make_text(const struct finding *f)
{
	cleanup_free char *place = NULL;

	place = f->line ? str_format("%s:%zu:%zu", f->file, f->line, f->column) : strdup(f->file);
	if (!place)
		return NULL;
	return str_format("%s: %s%s%s%s%s", place, f->object ?: "", f->object ? ": " : "", f->field ?: "",
			  f->field ? ": " : "", f->reason);
}

int finding_new(const struct finding *from, struct finding **ret_f)
{
	cleanup_finding struct finding *f = calloc(1, sizeof(*f));

	assert(from->file && from->reason);
	if (!f)
		return -ENOMEM;
	f->level = from->level;
	f->line = from->line;
	f->column = from->column;
	if (copy(from->file, &f->file) < 0 || copy(from->object, &f->object) < 0 || copy(from->field, &f->field) < 0 ||
	    copy(from->reason, &f->reason) < 0)
		return -ENOMEM;
	f->text = make_text(f);
	if (!f->text)
		return -ENOMEM;
	*ret_f = TAKE_PTR(f);
	return 0;
}

void finding_free(struct finding *f)
{
	if (!f)
		return;
	free(f->file);
	free(f->object);
	free(f->field);
	free(f->reason);
	free(f->text);
	free(f);
}
