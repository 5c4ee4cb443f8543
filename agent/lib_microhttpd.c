/* The functions of libmicrohttpd that are used here, see common/dl.h. */
#include <microhttpd.h>
#include <stdarg.h>

#include "common/dl.h"

static struct dl lib = { .name = "libmicrohttpd.so.12" };

#define FORWARD(...)	  DL_FORWARD(&lib, __VA_ARGS__)
#define FORWARD_VOID(...) DL_FORWARD_VOID(&lib, __VA_ARGS__)

FORWARD(enum MHD_Result, MHD_add_response_header, (struct MHD_Response * r, const char *name, const char *value),
	(r, name, value))
FORWARD(struct MHD_Response *, MHD_create_response_from_buffer,
	(size_t size, void *data, enum MHD_ResponseMemoryMode mode), (size, data, mode))
FORWARD_VOID(MHD_destroy_response, (struct MHD_Response * r), (r))
FORWARD(enum MHD_Result, MHD_get_timeout, (struct MHD_Daemon * d, MHD_UNSIGNED_LONG_LONG *ret_msec), (d, ret_msec))
FORWARD(const char *, MHD_lookup_connection_value,
	(struct MHD_Connection * c, enum MHD_ValueKind kind, const char *key), (c, kind, key))
FORWARD(enum MHD_Result, MHD_lookup_connection_value_n,
	(struct MHD_Connection * c, enum MHD_ValueKind kind, const char *key, size_t key_size, const char **ret_value,
	 size_t *ret_size),
	(c, kind, key, key_size, ret_value, ret_size))
FORWARD(enum MHD_Result, MHD_queue_response, (struct MHD_Connection * c, unsigned int status, struct MHD_Response *r),
	(c, status, r))
FORWARD(enum MHD_Result, MHD_run, (struct MHD_Daemon * d), (d))
FORWARD_VOID(MHD_stop_daemon, (struct MHD_Daemon * d), (d))
FORWARD_VOID(MHD_suspend_connection, (struct MHD_Connection * c), (c))
FORWARD_VOID(MHD_resume_connection, (struct MHD_Connection * c), (c))
/* what is asked for here takes no further argument */
FORWARD(const union MHD_ConnectionInfo *, MHD_get_connection_info,
	(struct MHD_Connection * c, enum MHD_ConnectionInfoType type, ...), (c, type))
FORWARD(const union MHD_DaemonInfo *, MHD_get_daemon_info, (struct MHD_Daemon * d, enum MHD_DaemonInfoType type, ...),
	(d, type))

struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port, MHD_AcceptPolicyCallback accept,
				    void *accept_data, MHD_AccessHandlerCallback handler, void *handler_data, ...)
{
	static typeof(&MHD_start_daemon_va) real;
	struct MHD_Daemon *d;
	va_list ap;

	if (!real)
		real = (typeof(real))dl_symbol(&lib, "MHD_start_daemon_va");
	va_start(ap, handler_data);
	d = real(flags, port, accept, accept_data, handler, handler_data, ap);
	va_end(ap);
	return d;
}
