/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/admin.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/base/text.h"

#define USER_SIZE 33

static void user_name(uid_t uid, char ret_name[USER_SIZE])
{
	const struct passwd *p = getpwuid(uid);
	if (p != NULL)
		snprintf(ret_name, USER_SIZE, "%s", p->pw_name);
	else
		snprintf(ret_name, USER_SIZE, "%u", (unsigned)uid);
}

/* Who logged in, which the kernel keeps through su and sudo; false: nobody did, such as in a service. */
static bool login_uid(uid_t *ret_uid)
{
	char text[16];
	uint64_t uid;
	FILE *f = fopen("/proc/self/loginuid", "re");
	if (f == NULL)
		return false;
	size_t n = fread(text, 1, sizeof(text), f);
	fclose(f);
	/* UINT_MAX: nobody. */
	if (text_uint((struct span){ (const uint8_t *)text, n }, UINT_MAX - 1, &uid) != ERR_OK)
		return false;
	*ret_uid = (uid_t)uid;
	return true;
}

/* "user@host", or "login(user)@host". */
static void this_process(char ret_who[ADMIN_WHO_SIZE])
{
	char host[HOST_NAME_MAX + 1] = "?", user[USER_SIZE], login[USER_SIZE];
	uid_t uid;
	if (gethostname(host, sizeof(host)) == 0)
		host[sizeof(host) - 1] = '\0';
	user_name(geteuid(), user);
	if (login_uid(&uid) && uid != geteuid()) {
		user_name(uid, login);
		snprintf(ret_who, ADMIN_WHO_SIZE, "%.24s(%.12s)@%.24s", login, user, host);
	} else {
		snprintf(ret_who, ADMIN_WHO_SIZE, "%.31s@%.30s", user, host);
	}
}

void admin_who(const struct ctl *c, char ret_who[ADMIN_WHO_SIZE])
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@()+$?:";
	char here[ADMIN_WHO_SIZE];
	this_process(here);
	if (ctl_has(c, OPT_WHO))
		snprintf(ret_who, ADMIN_WHO_SIZE, "%.20s:%.42s", c->opt[OPT_WHO], here);
	else
		memcpy(ret_who, here, ADMIN_WHO_SIZE);
	for (char *p = ret_who; *p != '\0'; p++)
		if (strchr(plain, *p) == NULL)
			*p = '_';
}

struct resp_reply *admin_call(struct ctl *c, const char *verb, const char *a, const char *b, const char *arg_c)
{
	char who[ADMIN_WHO_SIZE];
	admin_who(c, who);
	return session_script(c, "admin",
			      SESSION_ARGV(span_str(verb), span_str(who), span_str(a), span_str(b), span_str(arg_c)));
}
