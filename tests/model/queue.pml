/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue protocol (queue/PROTOCOL.md) for spin: one submission, two workers, a chamber, a producer, people.
 * README.md beside this file says what is modelled, what is left out, and what each property means.
 *
 * Each script is one atomic step, as in Redis. A stall is no state of its own: a worker that is not scheduled stalls;
 * what a stall changes is that its lease ends and the grant of its GO is over.
 *
 * Tokens are never used twice and only compared, so a token is named by who knows it: 1 and 2 are those in the slots
 * of worker 0 and 1; LOST is one that no worker knows any more. A worker's name is the worker while its nonce lasts, OLD
 * afterwards. That keeps the state space finite and free of copies that differ in names only.
 *
 * Every fault, act and retry is drawn from a budget, so each run ends, and what is true then is checked ("end").
 *
 * Switches: SENATE or BOTH (else House), FORGED, the budgets below, STALL_IN_POST, ENDS and the broken
 * variants BUG_*. README.md explains each.
 */

#ifndef FAULTS
#define FAULTS 2 /* crashes, stalls, lost connections */
#endif
#ifndef ACTS
#define ACTS 2 /* duplicates, new generations, expiries, acts of people */
#endif
#ifndef RETRIES
#define RETRIES 1 /* throttling answers, holds, GOs that come too late without a stall */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2 /* jobs.attempts */
#endif
#ifndef CRASHES
#define CRASHES 1 /* jobs.crashes */
#endif

#ifdef BOTH
#define OFFICES 2
#define SENATE_AT(o) ((o) == 1)
#else
#define OFFICES 1
#ifdef SENATE
#define SENATE_AT(o) true
#else
#define SENATE_AT(o) false
#endif
#endif
#define RESEND(o) SENATE_AT(o) /* the default policy for unknown fate */

#define NOBODY 0
#define TOKEN(w) ((w) + 1)
#define LOST 3
#define OLD 2
#define BIT(token) (1 << ((token) - 1))
#define FORGERY 3 /* a digest; 1 and 2 are the genuine bytes of generation 1 and 2 */

#define AT_WAIT 1
#define AT_LATER 2
#define AT_CLOSE 4
#define AT_UNKNOWN 8
#define AT_DEAD 16

mtype = {
	/* states of a record, reasons (`why`), terminal decisions of a worker */
	none, wait, later, taken, begun, close, accepted, rejected, dead, expired, cancelled, dropped, unknown, crashes, late,
	/* phases of a worker's slot */
	idle, ready, go, sent, says_accepted, says_rejected, says_throttled, says_conflict, settling,
	/* what a worker tells SETTLE, beside a terminal state */
	v_retry, v_unknown, v_throttled, v_not_sent, v_release, v_defer, v_live, v_refused, v_conflict,
	/* leases */
	live, past, gone,
	/* properties */
	p_once, p_terminal, p_holder, p_truth, p_hidden, p_stale, p_place, p_lost, p_verbs, p_conflict, p_cancel, p_left, p_end
};

typedef Record {
	mtype state;
	mtype why;
	mtype previous;
	byte token;
	byte holder; /* `worker` */
	byte attempt;
	byte n_crashes;
	byte generation; /* the highest verified; 0: none */
	byte digest;
	byte cand0;
	byte cand1;
	byte previous_digest;
	byte marks; /* u:<token>, a bit a token */
	byte at;    /* where the indexes list it */
	bit id;     /* DeliveryId and date are fixed */
	bit late_by;
	bit asked   /* `cancelled`: outlives another `why` */
};

typedef Slot {
	mtype phase;
	mtype what; /* the decision, while settling */
	byte office;
	bit unknowns; /* marks, as the last reply said */
	bit last;     /* this attempt is the last of the budget */
	bit grant;    /* less than two seconds since TAKE */
	bit verified; /* the bytes were, and nothing was begun yet */
	bit held      /* `held` and `fly` have its token */
};

Record j[OFFICES];
Slot s[2];

mtype lease[2];
bit adopt[2]; /* the connection broke: join and ADOPT before anything is taken */
bit down[2];  /* crashed, for good */
bit litter[3]; /* a token in `held` and `fly` that no record names; [OLD]: under an earlier nonce */
byte in_ = 2;  /* entries at the door: bit 1, 2, 3 for digest 1, 2, 3 */
bit made2;     /* generation 2 was enqueued */
bit made3;     /* the forged bytes were */
bit over;      /* the signed expiry of generation 1 is past */
bit revoked;   /* the genuine bytes no longer verify: their signer has gone */

byte faults, acts, retries;

/* The truth, which only the chamber knows, and what people did. */
byte truth[OFFICES];   /* POSTs that it accepted */
byte stray[OFFICES];   /* POSTs in the network whose sender no longer listens */
byte resends[OFFICES]; /* by an operator */
bit vouched[OFFICES];  /* resolved as accepted by an operator */
bit promised[OFFICES]; /* a cancel was answered: no POST begins any more */

/* Scratch: not part of the state. */
hidden mtype why_, where_, was_, word_;
hidden byte others_, i_, o_, name_;
hidden byte badverb_, was_current_, was_marked_, changed_, sent_, bad_, past_, ok_;

#define HOLDS(property, true_)                                  \
	if                                                      \
	:: true_                                                \
	:: else -> printf("violated: %e\n", property); assert(false) \
	fi

#define IF_(condition, statements) \
	if                         \
	:: condition -> statements \
	:: else                    \
	fi

#define OPEN(st) ((st) == wait || (st) == later || (st) == close || (st) == taken || (st) == begun)
#define DENIED(st) ((st) == rejected || (st) == expired || (st) == cancelled || (st) == dead)

/* --- invariants of a record, after every step that may touch it -------------------------------------------------- */

inline check(o)
{
	HOLDS(p_place, (j[o].state == wait) == ((j[o].at & AT_WAIT) != 0));
	HOLDS(p_place, (j[o].state == later) == ((j[o].at & AT_LATER) != 0));
	HOLDS(p_place, (j[o].state == close) == ((j[o].at & AT_CLOSE) != 0));
	HOLDS(p_place, (j[o].state == unknown) == ((j[o].at & AT_UNKNOWN) != 0));
	HOLDS(p_place, j[o].state != dead || (j[o].at & AT_DEAD) != 0);
	HOLDS(p_place, OPEN(j[o].state) || j[o].state == dead || (j[o].at & AT_DEAD) == 0);
	HOLDS(p_place, (j[o].state == taken || j[o].state == begun) == (j[o].token != NOBODY));
	HOLDS(p_place, j[o].token != TOKEN(0) || s[0].phase != idle && s[0].office == o && s[0].held);
	HOLDS(p_place, j[o].token != TOKEN(1) || s[1].phase != idle && s[1].office == o && s[1].held);
	HOLDS(p_lost, j[o].state != none || (in_ & 2) != 0 || revoked);
	HOLDS(p_hidden, truth[o] == 0 || !DENIED(j[o].state))
}

/* --- lib.lua ------------------------------------------------------------------------------------------------------- */

/* reason(): why_ in and out. While a POST is of unknown fate nothing may claim that the letter was not sent. */
inline reason(o, more)
{
	if
	:: j[o].late_by -> why_ = late
	:: else ->
		IF_((why_ == cancelled || why_ == expired || why_ == crashes) && (j[o].marks != 0 || (more) != 0), why_ = unknown)
	fi
}

inline place_add(o, where)
{
	if
	:: where == wait -> j[o].at = j[o].at | AT_WAIT
	:: where == later -> j[o].at = j[o].at | AT_LATER
	:: where == close -> j[o].at = j[o].at | AT_CLOSE
	:: else
	fi
}

inline place_leave(o, where)
{
	if
	:: where == wait -> j[o].at = j[o].at & ~AT_WAIT
	:: where == later -> j[o].at = j[o].at & ~AT_LATER
	:: where == close -> j[o].at = j[o].at & ~AT_CLOSE
	:: where == unknown -> j[o].at = j[o].at & ~AT_UNKNOWN
	:: where == dead -> j[o].at = j[o].at & ~AT_DEAD
	:: else
	fi
}

/* The record leaves flight: where_ and why_ say where to. flight_leave() is the caller's. */
inline way_back(o)
{
	IF_(why_ != none, where_ = close);
	place_add(o, where_);
	j[o].state = where_;
	j[o].why = why_;
	j[o].token = NOBODY;
	j[o].holder = 0;
	changed_ = 1
}

/* The token in `held` and `fly` of whoever has it. A LOST one counts as held while the record names it. */
inline flight_leave(token_)
{
	if
	:: token_ == TOKEN(0) -> s[0].held = 0
	:: token_ == TOKEN(1) -> s[1].held = 0
	:: else
	fi
}

/* --- a worker's memory --------------------------------------------------------------------------------------------- */

/* The slot is free, and nobody knows its token any more. name_: under which it was taken. */
inline forget(w)
{
	i_ = s[w].office;
	if
	:: j[i_].token == TOKEN(w) -> j[i_].token = LOST; j[i_].holder = name_
	:: else -> IF_(s[w].held, litter[name_] = 1)
	fi;
	IF_((j[i_].marks & BIT(TOKEN(w))) != 0,
	    j[i_].marks = (j[i_].marks & ~BIT(TOKEN(w))) | BIT(LOST));
	s[w].phase = idle;
	s[w].what = none;
	s[w].office = 0;
	s[w].unknowns = 0;
	s[w].last = 0;
	s[w].grant = 0;
	s[w].verified = 0;
	s[w].held = 0
}

inline decide(w, verb)
{
	s[w].phase = settling;
	s[w].what = verb;
	s[w].unknowns = 0;
	s[w].last = 0;
	s[w].grant = 0
}

/* decide_end(): only an acceptance, or a person's drop, ends a job while a fate is open. */
inline decide_end(w, st)
{
	why_ = st;
#ifndef BUG_END_IGNORES_MARKS
	IF_(s[w].unknowns && why_ != accepted && why_ != dropped, why_ = unknown);
#endif
	decide(w, why_)
}

/* --- ENQUEUE: one entry, for all offices --------------------------------------------------------------------------- */

inline enqueue_office(o, digest_)
{
	if
	:: j[o].state == none ->
		j[o].state = wait;
		j[o].at = AT_WAIT;
		j[o].digest = digest_
	:: j[o].state != none && (j[o].digest == digest_ || j[o].cand0 == digest_ || j[o].cand1 == digest_ ||
				  j[o].previous != none && j[o].previous_digest == digest_) ->
		skip /* known */
	:: else ->
		if
		:: j[o].state == accepted || j[o].state == unknown -> skip /* closed: refused */
		:: OPEN(j[o].state) ->
			if
			:: j[o].cand0 == 0 -> j[o].cand0 = digest_
			:: else -> j[o].cand1 = digest_
			fi
		:: else -> /* a challenge: the outcome stays until BEGIN has seen the newer generation */
			place_add(o, wait);
			j[o].previous = j[o].state;
			j[o].previous_digest = j[o].digest;
			j[o].state = wait;
			j[o].digest = digest_;
			j[o].cand0 = 0;
			j[o].cand1 = 0;
			j[o].why = none;
			j[o].attempt = 0;
			j[o].n_crashes = 0;
			promised[o] = 0;
			j[o].asked = 0
		fi
	fi
}

inline enqueue(digest_)
{
	printf("ENQUEUE bytes %d\n", digest_);
	enqueue_office(0, digest_);
#ifdef BOTH
	enqueue_office(1, digest_);
#endif
	in_ = in_ & ~(1 << digest_);
	check(0);
#ifdef BOTH
	check(1)
#endif
}

/* --- TAKE, and what prepare_letter() makes of the reply ------------------------------------------------------------ */

inline give(o, token_, name)
{
	was_ = j[o].state;
	j[o].state = taken;
	j[o].token = token_;
	j[o].holder = name;
	place_leave(o, was_)
}

/* The verdict before BEGIN: challenge, close lane, signature, expiry. What is only to be ended is not looked at. */
#define ONLY_ENDED(o) (j[o].why != none && j[o].why != expired)

inline prepare(w, o)
{
	bad_ = (j[o].digest == FORGERY || revoked);
	past_ = (over && j[o].digest == 1);
	s[w].verified = (!bad_ && (!ONLY_ENDED(o) || j[o].previous != none));
	if
	:: j[o].previous != none && (bad_ || j[o].digest <= j[o].generation) -> decide(w, v_refused)
	:: else ->
		if
		:: j[o].why == cancelled -> decide_end(w, cancelled)
		:: j[o].why == unknown -> decide_end(w, unknown)
		:: j[o].why == crashes -> decide_end(w, dead)
		:: j[o].why == dropped -> decide_end(w, dropped)
		:: j[o].why == late -> decide_end(w, accepted)
		:: else ->
			if
			:: bad_ -> decide(w, v_refused)
			:: !bad_ && past_ -> decide_end(w, expired)
			:: !bad_ && !past_ && j[o].why == expired -> decide(w, v_live)
			:: else -> s[w].phase = ready
			fi
		fi
	fi
}

inline take(w, o)
{
	give(o, TOKEN(w), w);
	s[w].office = o;
	s[w].unknowns = (j[o].marks != 0);
	s[w].grant = 1;
	s[w].held = 1;
	prepare(w, o);
	printf("worker %d: TAKE office %d, why %e -> %e %e\n", w, o, j[o].why, s[w].phase, s[w].what);
	check(o)
}

/* The reply never arrives. */
inline take_lost(w, o)
{
	give(o, LOST, w);
	printf("worker %d: TAKE office %d, reply lost\n", w, o);
	check(o)
}

/* --- BEGIN --------------------------------------------------------------------------------------------------------- */

inline generation_fits(o)
{
	if
	:: j[o].previous == none -> ok_ = (j[o].digest >= j[o].generation)
#ifdef BUG_GENERATION_IGNORES_MARKS
	:: else -> ok_ = (j[o].digest > j[o].generation)
#else
	:: else -> ok_ = (j[o].digest > j[o].generation && (j[o].marks == 0 || SENATE_AT(o)))
#endif
	fi
}

#ifdef BUG_BEGIN_WITHOUT_TOKEN
#define NOT_MINE(w, o) (j[o].state == none)
#else
#define NOT_MINE(w, o) (j[o].token != TOKEN(w))
#endif

inline begin(w, o)
{
	if
	:: NOT_MINE(w, o) -> /* STALE: `release` takes the token out of what is in flight */
#ifdef BUG_STALE_FORGOTTEN
		name_ = w;
		forget(w);
#else
		decide(w, v_release);
#endif
		printf("worker %d: BEGIN -> STALE\n", w)
	:: else ->
		if
		:: j[o].why == cancelled || j[o].why == none && j[o].asked -> decide_end(w, cancelled)
		:: j[o].why != cancelled && j[o].why != none -> decide(w, v_release)
		:: else ->
			generation_fits(o);
			if
			:: !ok_ -> decide(w, v_refused)
			:: else ->
				HOLDS(p_cancel, !promised[o]);
				j[o].state = begun;
				j[o].attempt++;
				j[o].generation = j[o].digest;
				j[o].id = 1;
				j[o].previous = none;
				j[o].previous_digest = 0;
				s[w].unknowns = (j[o].marks != 0);
				s[w].verified = 0;
				s[w].last = (j[o].attempt >= ATTEMPTS);
				s[w].phase = go
			fi
		fi;
		printf("worker %d: BEGIN -> %e %e\n", w, s[w].phase, s[w].what)
	fi;
	check(o)
}

/* --- the POST, and decide_answer() --------------------------------------------------------------------------------- */

inline post(w, o)
{
	printf("worker %d: POST office %d, record %e\n", w, o, j[o].state);
#ifndef STALL_IN_POST
	HOLDS(p_terminal, OPEN(j[o].state));
	HOLDS(p_holder, j[o].token == TOKEN(w) && j[o].state == begun);
#endif
	s[w].phase = sent;
	s[w].grant = 0
}

inline not_sent(w)
{
	if
	:: s[w].last -> decide_end(w, dead)
	:: else -> decide(w, v_retry)
	fi;
	printf("worker %d: the connection to the chamber failed -> %e\n", w, s[w].what)
}

inline no_answer(w, o)
{
	printf("worker %d: no answer (%e)\n", w, s[w].phase);
	IF_(s[w].phase == sent, stray[o]++);
	if
	:: RESEND(o) && !s[w].last -> decide(w, v_unknown)
	:: else -> decide_end(w, unknown)
	fi
}

inline answer(w)
{
	if
	:: s[w].phase == says_accepted -> decide_end(w, accepted)
	:: s[w].phase == says_rejected -> decide_end(w, rejected)
	:: s[w].phase == says_throttled -> decide(w, v_throttled)
	:: else -> decide(w, v_conflict)
	fi;
	printf("worker %d: answer -> %e\n", w, s[w].what)
}

/* --- SETTLE -------------------------------------------------------------------------------------------------------- */

inline finish(o, st)
{
	HOLDS(p_truth, st != accepted || truth[o] > 0 || vouched[o]);
	j[o].at = j[o].at & ~AT_DEAD;
	if
	:: st == dead -> j[o].at = j[o].at | AT_DEAD
	:: st == unknown -> j[o].at = j[o].at | AT_UNKNOWN
	:: else
	fi;
	j[o].state = st;
	j[o].token = NOBODY;
	j[o].holder = 0;
	j[o].why = none;
	j[o].previous = none;
	j[o].previous_digest = 0;
	j[o].cand0 = 0;
	j[o].cand1 = 0;
	/* Nobody reads these of a job that is over; it opens again with new ones. */
	j[o].attempt = 0;
	j[o].n_crashes = 0;
	IF_(st == accepted, j[o].late_by = 0);
	promised[o] = 0;
	j[o].asked = 0;
	changed_ = 1
}

/* The outcome of a job that somebody else may hold by now. */
inline finish_late(o, st)
{
	i_ = j[o].token;
	name_ = j[o].holder;
	finish(o, st);
	place_leave(o, was_);
	IF_(i_ == LOST, litter[name_] = 1) /* else its worker knows it, and settles */
}

/* A definite answer to a POST that had been given up. */
inline late_answer(w, o)
{
	was_ = j[o].state;
	if
	:: word_ == accepted ->
#ifndef BUG_LATE_HIDDEN
		if
		:: was_ == begun -> j[o].late_by = 1
		:: was_ != begun && was_ != accepted ->
			finish_late(o, accepted)
		:: else
		fi
#else
		skip
#endif
	:: word_ == rejected ->
		IF_(others_ == 0 && !j[o].late_by && j[o].previous == none &&
		    (was_ == wait || was_ == later || was_ == close || was_ == taken || was_ == unknown),
		    finish_late(o, rejected))
	:: else ->
		IF_(others_ == 0 && was_ == close && j[o].why == unknown && !j[o].late_by,
		    IF_(j[o].attempt > 0, j[o].attempt--);
		    if
		    :: j[o].asked -> j[o].why = cancelled
		    :: else ->
			    place_add(o, wait);
			    j[o].state = wait;
			    j[o].why = none;
			    place_leave(o, close)
		    fi)
	fi;
	j[o].marks = j[o].marks & ~BIT(TOKEN(w));
	changed_ = 1
}

inline not_current(w, o)
{
	others_ = j[o].marks & ~BIT(TOKEN(w));
	word_ = none;
	IF_(was_marked_,
	    if
	    :: s[w].what == accepted || s[w].what == rejected -> word_ = s[w].what
	    :: s[w].what == v_conflict -> IF_(others_ != 0, word_ = accepted)
	    :: s[w].what == v_retry || s[w].what == v_throttled || s[w].what == v_not_sent || s[w].what == dead -> word_ = later
	    :: else
	    fi);
	IF_(word_ != none, late_answer(w, o))
}

/* After an attempt: where_ and why_ are set. */
inline attempted(o, spent)
{
	j[o].attempt = j[o].attempt - 1 + (spent);
	way_back(o)
}

inline back_unsent(o)
{
	where_ = wait;
	why_ = j[o].why;
	reason(o, 0);
	if
	:: j[o].state == begun -> attempted(o, 0)
	:: else -> way_back(o)
	fi
}

inline mark(o, token_)
{
#ifdef BUG_NO_MARK
	skip
#else
	j[o].marks = j[o].marks | BIT(token_)
#endif
}

inline settle_unknown(w, o)
{
	where_ = later;
	why_ = j[o].why;
	reason(o, 1);
	mark(o, TOKEN(w));
	attempted(o, 1)
}

/* The verbs that need BEGIN and lead back. */
inline settle_later(w, o, spent)
{
	where_ = later;
	why_ = j[o].why;
	reason(o, 0);
	attempted(o, spent)
}

inline conflict(o)
{
	if
	:: j[o].marks != 0 || j[o].late_by -> finish(o, accepted)
	:: else ->
		HOLDS(p_conflict, false);
		finish(o, unknown)
	fi
}

/* The signer may be another worker's. */
inline defer(o)
{
	where_ = later;
	why_ = j[o].why;
	IF_(why_ == expired && !j[o].late_by, why_ = none);
	reason(o, 0);
	way_back(o)
}

inline live_again(o)
{
	where_ = wait;
	why_ = j[o].why;
	IF_(why_ == expired, why_ = none);
	reason(o, 0);
	way_back(o)
}

/* Somebody decided meanwhile that it is to be ended. */
#define TO_BE_ENDED(o) (j[o].id && j[o].previous == none && j[o].why != none && j[o].why != expired && j[o].cand0 == 0)

inline refused(w, o)
{
	printf("office %d: bytes %d refused\n", o, j[o].digest);
	if
	:: TO_BE_ENDED(o) -> badverb_ = 1
	:: j[o].cand0 != 0 ->
		where_ = wait;
		why_ = j[o].why;
		IF_(why_ == expired, why_ = none);
		reason(o, 0);
		j[o].digest = j[o].cand0;
		j[o].cand0 = j[o].cand1;
		j[o].cand1 = 0;
		way_back(o)
	:: j[o].cand0 == 0 && j[o].previous != none ->
		j[o].state = j[o].previous;
		j[o].digest = j[o].previous_digest;
		j[o].previous = none;
		j[o].previous_digest = 0;
		j[o].why = none;
		j[o].token = NOBODY;
		j[o].holder = 0;
		promised[o] = 0;
		j[o].asked = 0;
		changed_ = 1
	:: j[o].cand0 == 0 && j[o].previous == none && j[o].id && !TO_BE_ENDED(o) ->
		where_ = close;
		why_ = dropped;
		IF_(j[o].marks != 0, why_ = unknown);
		way_back(o)
	:: else ->
		j[o].state = none;
		j[o].digest = 0;
		j[o].why = none;
		j[o].token = NOBODY;
		j[o].holder = 0;
		j[o].attempt = 0;
		j[o].n_crashes = 0;
		j[o].generation = 0;
		promised[o] = 0;
		j[o].asked = 0;
		changed_ = 1
	fi
}

/* Whatever this POST says, a late acceptance came while it was on the wire. */
inline late_wins(w, o)
{
	where_ = close;
	why_ = late;
	IF_(s[w].what == v_unknown || s[w].what == unknown, mark(o, TOKEN(w)));
	if
	:: s[w].what == v_not_sent || s[w].what == v_release -> attempted(o, 0)
	:: else -> attempted(o, 1)
	fi
}

inline current(w, o)
{
	sent_ = (j[o].state == begun);
	HOLDS(p_verbs, sent_ || s[w].what != v_retry && s[w].what != v_throttled && s[w].what != v_unknown &&
				s[w].what != v_conflict);
	HOLDS(p_verbs, !sent_ || s[w].what != v_live && s[w].what != v_refused && s[w].what != v_defer);
	if
#ifndef BUG_LATE_HIDDEN
	:: sent_ && j[o].late_by && s[w].what != v_conflict && s[w].what != accepted -> late_wins(w, o)
	:: !(sent_ && j[o].late_by && s[w].what != v_conflict && s[w].what != accepted) ->
#else
	:: true ->
#endif
		if
		:: s[w].what == v_retry -> settle_later(w, o, 1)
		:: s[w].what == v_throttled -> settle_later(w, o, 0)
		:: s[w].what == v_unknown -> settle_unknown(w, o)
		:: s[w].what == v_not_sent || s[w].what == v_release -> back_unsent(o)
		:: s[w].what == v_defer -> defer(o)
		:: s[w].what == v_live -> live_again(o)
		:: s[w].what == v_refused -> refused(w, o)
		:: s[w].what == v_conflict -> conflict(o)
		:: else ->
			HOLDS(p_verbs, s[w].what != accepted || sent_ || j[o].late_by);
			HOLDS(p_verbs, !(j[o].late_by && !sent_ && s[w].what != accepted));
			IF_(s[w].what == unknown && sent_, mark(o, TOKEN(w)));
			IF_(s[w].verified && j[o].digest > j[o].generation, j[o].generation = j[o].digest);
			finish(o, s[w].what)
		fi
	fi
}

#ifdef BUG_STALE_SETTLES
#define IS_CURRENT(w, o) (OPEN(j[o].state))
#else
#define IS_CURRENT(w, o) (j[o].token == TOKEN(w))
#endif

/* The script. Its reply may be lost: then the slot stays and SETTLE is sent again. */
inline settle(w, o)
{
	was_current_ = (j[o].token == TOKEN(w));
	was_marked_ = ((j[o].marks & BIT(TOKEN(w))) != 0);
	changed_ = 0;
	badverb_ = 0;
	printf("worker %d: SETTLE %e, record %e\n", w, s[w].what, j[o].state);
	if
	:: j[o].state == none -> skip
	:: else ->
		if
		:: IS_CURRENT(w, o) -> current(w, o)
		:: else -> not_current(w, o)
		fi
	fi;
	IF_(!badverb_, s[w].held = 0);
	HOLDS(p_stale, was_current_ || was_marked_ || !changed_);
	printf("office %d: %e, why %e\n", o, j[o].state, j[o].why);
	check(o)
}

/* --- REAP, ADOPT --------------------------------------------------------------------------------------------------- */

/* forsaken(), and the rest of recall(): why_ is what is to become of it so far. */
inline forsaken(o)
{
	i_ = j[o].token;
	where_ = wait;
	if
	:: j[o].state == taken -> reason(o, 0)
	:: else ->
		if
		:: RESEND(o) -> where_ = later
#ifdef BUG_REAP_WITHOUT_MARK
		:: else
#else
		:: else -> IF_(why_ == none, why_ = unknown)
#endif
		fi;
#ifdef BUG_REAP_WITHOUT_MARK
		reason(o, 0)
#else
		reason(o, 1);
		mark(o, i_)
#endif
	fi;
	way_back(o);
	flight_leave(i_)
}

inline reap_job(o)
{
	j[o].n_crashes++;
	why_ = j[o].why;
	IF_(j[o].n_crashes > CRASHES && why_ == none, why_ = crashes);
	forsaken(o);
	printf("office %d: taken back by REAP -> %e, why %e\n", o, j[o].state, j[o].why)
}

/* v: the other worker. Jobs of earlier nonces are anybody's to take back. */
#define REAPABLE(o, v) (j[o].token != NOBODY && (j[o].holder == OLD || j[o].holder == (v) && lease[v] == past))

inline reap(w, v)
{
	printf("worker %d: REAP\n", w);
	IF_(REAPABLE(0, v), reap_job(0));
#ifdef BOTH
	IF_(REAPABLE(1, v), reap_job(1));
#endif
	IF_(lease[v] == past, lease[v] = gone; litter[v] = 0);
	litter[OLD] = 0;
	check(0);
#ifdef BOTH
	check(1)
#endif
}

#ifdef BUG_ADOPT_POSTING
#define ADOPTABLE(o, w) (j[o].token != NOBODY && j[o].holder == (w))
#else
#define ADOPTABLE(o, w) (j[o].token == LOST && j[o].holder == (w))
#endif

/* What is begun was known to its worker once: its SETTLE is forgotten. */
inline adopt_job(o)
{
	why_ = j[o].why;
#ifdef BUG_ADOPT_UNSENT
	i_ = j[o].token;
	where_ = wait;
	reason(o, 0);
	IF_(j[o].state == begun, j[o].attempt--);
	way_back(o);
	flight_leave(i_);
#else
	forsaken(o);
#endif
	printf("office %d: given back by ADOPT -> %e, why %e\n", o, j[o].state, j[o].why)
}

/* Connected again: JOIN under the same nonce, then ADOPT with the token of the slot. */
inline join_adopt(w)
{
	printf("worker %d: JOIN, ADOPT\n", w);
	lease[w] = live;
	adopt[w] = 0;
	litter[w] = 0;
	IF_(ADOPTABLE(0, w), adopt_job(0));
#ifdef BOTH
	IF_(ADOPTABLE(1, w), adopt_job(1));
#endif
	check(0);
#ifdef BOTH
	check(1)
#endif
}

/* --- what goes wrong ----------------------------------------------------------------------------------------------- */

inline rename(o, w)
{
	IF_(j[o].token != NOBODY && j[o].holder == w, j[o].holder = OLD)
}

/* The process dies and starts again under a new nonce, or not at all. What it sent may still arrive. */
inline crash(w, for_good)
{
	printf("worker %d: crash in %e\n", w, s[w].phase);
	IF_(s[w].phase == sent, stray[s[w].office]++);
	IF_(s[w].phase != idle, name_ = OLD; forget(w));
	rename(0, w);
#ifdef BOTH
	rename(1, w);
#endif
	IF_(litter[w], litter[w] = 0; litter[OLD] = 1);
	lease[w] = gone;
	adopt[w] = 0;
	down[w] = for_good;
	faults++
}

inline stall(w)
{
	printf("worker %d: stalls past its lease\n", w);
	lease[w] = past;
	s[w].grant = 0;
	faults++
}

/* A job whose GO did not arrive may be begun on record: it is settled as not sent. A POST under way and a SETTLE go on. */
inline lost(w)
{
	printf("worker %d: connection lost in %e\n", w, s[w].phase);
	IF_(s[w].phase == ready || s[w].phase == go, decide(w, v_not_sent));
	adopt[w] = 1;
	faults++
}

/* SETTLE is acknowledged, and a failover forgets it. Its worker says it again for a minute only: here no more. */
inline forgotten(w)
{
	printf("worker %d: SETTLE %e is forgotten\n", w, s[w].what);
	name_ = w;
	forget(w);
	adopt[w] = 1;
	faults++
}

#if defined(BUG_NO_GRANT) || defined(STALL_IN_POST)
#define GRANTED(w) true
#else
#define GRANTED(w) (s[w].grant)
#endif
#define MEMBER(w) (!down[w] && !adopt[w] && lease[w] != gone)
/* A worker whose own lease is over gets nothing: it could be taken back within the time of its grant. */
#ifdef BUG_TAKE_PAST_LEASE
#define TAKES(w) (MEMBER(w) && s[w].phase == idle)
#else
#define TAKES(w) (MEMBER(w) && s[w].phase == idle && lease[w] == live)
#endif
#define TAKEABLE(o) (j[o].state == wait || j[o].state == close)
#define ANSWERED(w) (s[w].phase == says_accepted || s[w].phase == says_rejected || s[w].phase == says_throttled || \
		     s[w].phase == says_conflict)

proctype worker(byte w)
{
end:
	do
	:: d_step { !down[w] && !adopt[w] && lease[w] != live -> lease[w] = live; printf("worker %d: BEAT or JOIN\n", w) }
	:: d_step { !down[w] && adopt[w] -> join_adopt(w) }
#if !defined(BUG_NO_ADOPT) && !defined(BUG_STALE_FORGOTTEN)
	/* ADOPT also runs once a lease by itself. */
	:: d_step { MEMBER(w) && lease[w] == live && (ADOPTABLE(0, w) || litter[w]
#ifdef BOTH
			|| ADOPTABLE(1, w)
#endif
		) -> join_adopt(w) }
#endif
	:: d_step {
		MEMBER(w) && (lease[1 - w] == past || REAPABLE(0, 1 - w) || litter[OLD]
#ifdef BOTH
			|| REAPABLE(1, 1 - w)
#endif
		) -> reap(w, 1 - w)
	}
	:: d_step { TAKES(w) && TAKEABLE(0) -> take(w, 0) }
	:: d_step { TAKES(w) && TAKEABLE(0) && faults < FAULTS ->
		take_lost(w, 0); adopt[w] = 1; faults++ }
	/* A TAKE of a connection that was given up is carried out after the next one's ADOPT. */
#ifndef BUG_STALE_FORGOTTEN
	:: d_step { TAKES(w) && TAKEABLE(0) && faults < FAULTS -> take_lost(w, 0); faults++ }
#endif
#ifdef BOTH
	:: d_step { TAKES(w) && TAKEABLE(1) -> take(w, 1) }
	:: d_step { TAKES(w) && TAKEABLE(1) && faults < FAULTS ->
		take_lost(w, 1); adopt[w] = 1; faults++ }
#endif
	/* Found invalid, or its office has gone, before anything is sent. */
	:: d_step { s[w].phase == ready -> decide_end(w, rejected); printf("worker %d: invalid -> %e\n", w, s[w].what) }
	:: d_step { s[w].phase == ready && retries < RETRIES ->
		retries++; decide(w, v_release); printf("worker %d: held\n", w) }
	:: d_step { s[w].phase == ready && !down[w] && !adopt[w] -> o_ = s[w].office; begin(w, o_) }
	:: d_step { s[w].phase == go && GRANTED(w) -> o_ = s[w].office; post(w, o_) }
	:: d_step { s[w].phase == go && GRANTED(w) -> not_sent(w) }
	:: d_step { s[w].phase == go && (!s[w].grant || retries < RETRIES) ->
		IF_(s[w].grant, retries++); decide(w, v_not_sent); printf("worker %d: GO came too late\n", w) }
	:: d_step { s[w].phase == go && (!s[w].grant || retries < RETRIES) ->
		IF_(s[w].grant, retries++); decide(w, v_throttled); printf("worker %d: connected too late\n", w) }
	:: d_step { s[w].phase == sent || ANSWERED(w) -> o_ = s[w].office; no_answer(w, o_) }
	:: d_step { ANSWERED(w) -> answer(w) }
	:: d_step { s[w].phase == settling && !down[w] ->
		o_ = s[w].office; settle(w, o_); name_ = w; forget(w);
		/* The slot of what does not fit the record is given up, and ADOPT puts it right. */
		IF_(badverb_, adopt[w] = 1; printf("worker %d: BADVERB\n", w)) }
	:: d_step { s[w].phase == settling && s[w].what == v_refused && revoked && retries < RETRIES ->
		retries++; s[w].what = v_defer }
	:: d_step { s[w].phase == settling && !down[w] && faults < FAULTS ->
		o_ = s[w].office; settle(w, o_); adopt[w] = 1; faults++; printf("worker %d: reply lost\n", w) }
	:: d_step { s[w].phase == settling && !down[w] && faults < FAULTS && j[s[w].office].state == begun &&
		    j[s[w].office].token == TOKEN(w) -> forgotten(w) }
	:: d_step { !down[w] && faults < FAULTS && (lease[w] != gone || s[w].phase != idle) -> crash(w, 0) }
	:: d_step { !down[w] && faults < FAULTS && !down[1 - w] -> crash(w, 1) }
	:: d_step { !down[w] && faults < FAULTS && lease[w] == live -> stall(w) }
	:: d_step { !down[w] && faults < FAULTS && !adopt[w] && s[w].phase != idle && s[w].phase != settling -> lost(w) }
	od
}

/* --- the chamber --------------------------------------------------------------------------------------------------- */

/* The House does not know a DeliveryId again; the Senate does. */
#ifdef BUG_NEW_ID
#define KNOWN(o) false
#else
#define KNOWN(o) (SENATE_AT(o) && truth[o] > 0)
#endif

inline accept_(o)
{
	truth[o]++;
	printf("chamber: office %d accepts a POST\n", o);
	HOLDS(p_once, truth[o] <= 1 + (SENATE_AT(o) -> 0 : resends[o]));
	check(o)
}

proctype chamber()
{
end:
	do
	:: d_step { s[0].phase == sent && !KNOWN(s[0].office) -> s[0].phase = says_accepted; o_ = s[0].office; accept_(o_) }
	:: d_step { s[1].phase == sent && !KNOWN(s[1].office) -> s[1].phase = says_accepted; o_ = s[1].office; accept_(o_) }
	:: d_step { s[0].phase == sent && KNOWN(s[0].office) -> s[0].phase = says_conflict }
	:: d_step { s[1].phase == sent && KNOWN(s[1].office) -> s[1].phase = says_conflict }
	/* Before it looks at the id. */
	:: d_step { s[0].phase == sent -> s[0].phase = says_rejected }
	:: d_step { s[1].phase == sent -> s[1].phase = says_rejected }
	:: d_step { s[0].phase == sent && retries < RETRIES -> retries++; s[0].phase = says_throttled }
	:: d_step { s[1].phase == sent && retries < RETRIES -> retries++; s[1].phase = says_throttled }
	/* What is left in the network arrives at any time, or never. */
	:: d_step { stray[0] > 0 && !KNOWN(0) -> stray[0]--; accept_(0) }
	:: d_step { stray[0] > 0 -> stray[0]-- }
#ifdef BOTH
	:: d_step { stray[1] > 0 && !KNOWN(1) -> stray[1]--; accept_(1) }
	:: d_step { stray[1] > 0 -> stray[1]-- }
#endif
	od
}

/* --- intake and timers: parts of TAKE, which any worker runs ------------------------------------------------------- */

inline later_due(o)
{
	place_add(o, wait);
	j[o].state = wait;
	place_leave(o, later);
	check(o)
}

inline exp_due(o)
{
	was_ = j[o].state;
	why_ = expired;
	reason(o, 0);
	place_add(o, close);
	j[o].state = close;
	j[o].why = why_;
	place_leave(o, was_);
	printf("office %d: due to expire\n", o);
	check(o)
}

#define WAITS(o) (j[o].state == wait || j[o].state == later)

proctype timers()
{
end:
	do
	:: d_step { (in_ & 2) != 0 -> enqueue(1) }
	:: d_step { (in_ & 4) != 0 -> enqueue(2) }
	:: d_step { (in_ & 8) != 0 -> enqueue(FORGERY) }
	:: d_step { j[0].state == later -> later_due(0) }
	:: d_step { over && WAITS(0) && j[0].digest == 1 -> exp_due(0) }
	/* The hint was wrong. */
	:: d_step { acts < ACTS && !over && WAITS(0) -> acts++; exp_due(0) }
#ifdef BOTH
	:: d_step { j[1].state == later -> later_due(1) }
	:: d_step { over && WAITS(1) && j[1].digest == 1 -> exp_due(1) }
	:: d_step { acts < ACTS && !over && WAITS(1) -> acts++; exp_due(1) }
#endif
	od
}

/* --- producer and people ------------------------------------------------------------------------------------------- */

/* cancel_one() */
inline cancel(o)
{
	why_ = cancelled;
	reason(o, 0);
	promised[o] = 1;
#ifndef BUG_CANCEL_FORGOTTEN
	j[o].asked = 1;
#endif
	printf("cancel office %d in %e, why %e\n", o, j[o].state, j[o].why);
	if
	:: j[o].state == begun || j[o].state == taken || j[o].state == close ->
		IF_(j[o].why == none, j[o].why = why_)
	:: else ->
		was_ = j[o].state;
		place_add(o, close);
		j[o].state = close;
		j[o].why = why_;
		place_leave(o, was_)
	fi;
	check(o)
}

inline reopen(o)
{
	was_ = j[o].state;
	place_add(o, wait);
	j[o].state = wait;
	j[o].why = none;
	j[o].asked = 0;
	j[o].attempt = 0;
	j[o].n_crashes = 0;
	place_leave(o, was_);
	check(o)
}

inline close_(o, because)
{
	was_ = j[o].state;
	place_add(o, close);
	j[o].state = close;
	j[o].why = because;
	place_leave(o, was_);
	check(o)
}

#define ACT(condition, statements) d_step { acts < ACTS && (condition) -> acts++; statements }

inline resend(o)
{
	printf("resolve office %d: resend\n", o);
	resends[o]++;
	reopen(o)
}

inline vouch(o)
{
	printf("resolve office %d: accepted\n", o);
	vouched[o] = 1;
	j[o].late_by = 1;
	close_(o, late)
}

proctype people()
{
end:
	do
	:: ACT((in_ & 2) == 0, in_ = in_ | 2; printf("XADD bytes 1 again\n"))
	:: ACT(!made2, made2 = 1; in_ = in_ | 4; printf("XADD bytes 2\n"))
#ifdef FORGED
	:: ACT(!made3, made3 = 1; in_ = in_ | 8; printf("XADD forged bytes\n"))
#endif
	:: ACT(!revoked, revoked = 1; printf("the signer of the genuine bytes has gone\n"))
	:: ACT(!over, over = 1; printf("generation 1 has expired\n"))
	:: ACT(OPEN(j[0].state), cancel(0))
	:: ACT(j[0].state == unknown, resend(0))
	:: ACT(j[0].state == unknown, vouch(0))
	:: ACT(j[0].state == unknown || j[0].state == dead, printf("drop\n"); close_(0, dropped))
	:: ACT(j[0].state == dead, printf("replay\n"); reopen(0))
#ifdef BOTH
	:: ACT(OPEN(j[1].state), cancel(1))
	:: ACT(j[1].state == unknown, resend(1))
	:: ACT(j[1].state == unknown, vouch(1))
	:: ACT(j[1].state == unknown || j[1].state == dead, printf("drop\n"); close_(1, dropped))
	:: ACT(j[1].state == dead, printf("replay\n"); reopen(1))
#endif
	od
}

/* --- the end of a run: nothing can move any more ------------------------------------------------------------------- */

inline ended(o)
{
	printf("the end: office %d is %e\n", o, j[o].state);
	HOLDS(p_end, (j[o].state != none || revoked) && !OPEN(j[o].state) && stray[o] == 0)
}

init
{
	atomic {
		j[0].state = none; j[0].why = none; j[0].previous = none;
#ifdef BOTH
		j[1].state = none; j[1].why = none; j[1].previous = none;
#endif
		s[0].phase = idle; s[0].what = none; s[1].phase = idle; s[1].what = none;
		lease[0] = live; lease[1] = live;
		run worker(0); run worker(1); run chamber(); run timers(); run people()
	}
	timeout;
	d_step {
		HOLDS(p_end, in_ == 0 && s[0].phase == idle && s[1].phase == idle);
#ifdef ENDS
		/* The search says which states a run can end in, each once. */
		c_code {
			static char told[256];
			if (!told[now.j[0].state])
				printf("reached %d\n", now.j[0].state);
			told[now.j[0].state] = 1;
		};
#endif
		ended(0);
#ifdef BOTH
		ended(1);
#endif
		HOLDS(p_left, !litter[0] && !litter[1] && !litter[OLD])
	};
	/* Here alone is progress: any cycle before is reported by the run that looks for cycles. */
end:
progress:
	false
}
