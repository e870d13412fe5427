#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks the model of the queue protocol with spin. README.md says what is checked and how to read what this prints.
# Usage: tests/model/check.sh [--short|--full]
# Exit 1 when a property does not hold, when a broken variant is not noticed, or when a search did not finish.
set -eu

size=middle
case "${1:-}" in
'') ;;
--short) size=short ;;
--full) size=full ;;
*)
	echo "usage: tests/model/check.sh [--short|--full]" >&2
	exit 64
	;;
esac

# A short search costs less than what an optimising compiler takes.
opt=-O1
[ $size = full ] && opt=-O2

here=$(cd "$(dirname "$0")" && pwd)
model=$here/queue.pml
for tool in spin gcc; do
	if ! command -v "$tool" >/dev/null; then
		echo "check.sh: $tool is missing: ops/install-deps test" >&2
		exit 77
	fi
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
bad=0
runs=0

# search OPTIMISATION KIND FLAG...: KIND is SAFETY or NP (cycles). Sets states, depth, seconds and found (the property
# that was violated, "cycle", or nothing).
search() {
	level=$1
	kind=$2
	shift 2
	rm -rf "$tmp/run"
	mkdir "$tmp/run"
	cd "$tmp/run"
	spin -a "$@" "$model" >spin.out || {
		cat spin.out
		exit 1
	}
	how=''
	[ "$kind" = NP ] && how=-l
	claim=-DNOCLAIM
	[ "$kind" = NP ] && claim=-DMEMCNT=40
	gcc "$level" -w -D"$kind" "$claim" -DNOREDUCE -DMEMLIM=3900 -o pan pan.c
	# shellcheck disable=SC2086  # empty, or one option
	./pan $how -m20000 -w"$table" >pan.out 2>&1 || true
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out)
	depth=$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' pan.out)
	seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds$/\1/p' pan.out)
	seconds=${seconds:-0}
	found=''
	if [ -f queue.pml.trail ]; then
		spin -T -t -k queue.pml.trail "$@" "$model" 2>&1 | sed -e '/^spin: trail ends/,$d' -e '/^violated: /q' >story
		found=$(sed -n '/^violated: p_/{s///p;q;}' story)
		[ "$kind" = NP ] && found=cycle
		found=${found:-error}
	elif ! grep -q 'errors: 0' pan.out || grep -Eq 'Search not completed|too small|out of memory' pan.out; then
		found='search that did not finish'
		cp pan.out story
	fi
	cd "$here"
}

# The story of a violation, and how to look closer.
tell() {
	sed 's/^/        /' "$tmp/run/story"
	keep=${TMPDIR:-/tmp}/queue-$$-$runs.trail
	if [ -f "$tmp/run/queue.pml.trail" ]; then
		cp "$tmp/run/queue.pml.trail" "$keep"
		echo "        spin -t -p -k $keep $* tests/model/queue.pml"
	fi
}

total_states=0
total_depth=0
total_seconds=0

add() {
	total_states=$(echo "$total_states $states" | awk '{ printf "%.0f", $1 + $2 }')
	total_seconds=$(echo "$total_seconds $seconds" | awk '{ printf "%.1f", $1 + $2 }')
	[ "$depth" -gt "$total_depth" ] && total_depth=$depth
	return 0
}

# holds NAME KIND FLAG...: nothing may be found.
holds() {
	name=$1
	kind=$2
	shift 2
	table=24
	search $opt "$kind" "$@"
	if [ -n "$found" ]; then
		printf 'FAIL    %-34s %s\n' "$name" "$found"
		tell "$@"
		bad=1
	else
		printf 'run     %-34s %9.0f states  depth %3d  %6.1f s\n' "$name" "$states" "$depth" "$seconds"
	fi
	runs=$((runs + 1))
	add
}

# finds WORD NAME PROPERTY FLAG...: a violation must be found, of that property.
finds() {
	word=$1
	name=$2
	want=$3
	shift 3
	table=20
	search -O0 SAFETY "$@"
	if [ "$found" = "$want" ]; then
		printf '%-7s %-34s %9.0f states  depth %3d  %6.1f s  %s\n' "$word" "$name" "$states" "$depth" "$seconds" "$found"
	else
		printf 'FAIL    %-34s expected: %s, found: %s\n' "$name" "$want" "${found:-nothing}"
		bad=1
	fi
}

budget() {
	echo "-DFAULTS=$1 -DACTS=$2"
}

# --- the properties ---------------------------------------------------------------------------------------------------

# shellcheck disable=SC2046  # two flags
{
	if [ $size = short ]; then
		# 1 fault and 2 acts at the House: the search for its ends.
		holds 'House, 2 faults, 1 act' SAFETY $(budget 2 1)
		holds 'Senate, 1 fault, 1 act' SAFETY -DSENATE $(budget 1 1)
	else
		holds 'House, 2 faults, 2 acts' SAFETY $(budget 2 2)
		holds 'Senate, 2 faults, 1 act' SAFETY -DSENATE $(budget 2 1)
		holds 'Senate, 1 fault, 2 acts, no retry' SAFETY -DSENATE -DRETRIES=0 $(budget 1 2)
	fi
	if [ $size = full ]; then
		holds 'House, 3 faults, 2 acts' SAFETY $(budget 3 2)
		holds 'House, 1 fault, 3 acts, forged bytes' SAFETY -DFORGED $(budget 1 3)
		holds 'Senate, 2 faults, 2 acts' SAFETY -DSENATE $(budget 2 2)
		holds 'Senate, 3 faults, 1 act' SAFETY -DSENATE $(budget 3 1)
		holds 'Senate, 1 fault, 3 acts, forged' SAFETY -DSENATE -DFORGED $(budget 1 3)
		holds 'House and Senate, 1 fault, 1 act' SAFETY -DBOTH $(budget 1 1)
	fi
}
if [ $bad = 0 ]; then
	while read -r property text; do
		printf 'ok      %-9s %-50s %9.0f states  depth %3d  %6.1f s\n' "$property" "$text" "$total_states" "$total_depth" \
			"$total_seconds"
	done <<-END
		once       at most one POST is accepted, or one a resend
		terminal   no POST after a terminal state
		holder     only the current token POSTs, after BEGIN
		truth      accepted only if the chamber accepted
		hidden     an acceptance ends as accepted or unknown
		stale      a stale token changes nothing
		place      the record is in exactly one place
		lost       a letter is at the door or on record
		verbs      no SETTLE comes when it does not fit
		conflict   a 409 always meets a mark
		cancel     no POST begins after an answered cancel
		left       at rest no token is left in flight
		end        at rest every job is over, every slot free
	END
fi

total_states=0
total_depth=0
total_seconds=0
# shellcheck disable=SC2046
{
	holds 'cycles, House, 1 fault, 1 act' NP $(budget 1 1)
	if [ $size != short ]; then
		holds 'cycles, Senate, 1 fault, 1 act' NP -DSENATE $(budget 1 1)
	fi
	if [ $size = full ]; then
		holds 'cycles, House, 2 faults, 2 acts' NP $(budget 2 2)
	fi
}
if [ $bad = 0 ]; then
	printf 'ok      %-9s %-50s %9.0f states  depth %3d  %6.1f s\n' ends 'every run comes to rest' "$total_states" "$total_depth" \
		"$total_seconds"
fi

if [ $size = full ]; then
	# What the protocol admits: the machine stalls between its last look at the clock and the write.
	# shellcheck disable=SC2046
	holds 'House, a stall within the POST' SAFETY -DSTALL_IN_POST $(budget 2 2)
fi

# --- each end can be reached -----------------------------------------------------------------------------------------

# shellcheck disable=SC2046
holds 'ends of House, 1 fault, 2 acts' SAFETY -DENDS $(budget 1 2)
reached=$(grep -c '^reached ' "$tmp/run/pan.out" || true)
if [ "$reached" -ge 7 ]; then
	echo "ok      reached   all seven terminal states"
else
	echo "FAIL    reached   $reached of seven terminal states"
	bad=1
fi

# --- broken variants must be noticed ---------------------------------------------------------------------------------

mutants=0
mutant() {
	mutants=$((mutants + 1))
	text=$1
	want=$2
	bug=$3
	shift 3
	finds caught "$text" "$want" -DBUG_"$bug" "$@"
}

# shellcheck disable=SC2046
{
	mutant 'reap without a mark, House' hidden REAP_WITHOUT_MARK $(budget 2 2)
	mutant 'reap without a mark, Senate' hidden REAP_WITHOUT_MARK -DSENATE $(budget 2 2)
	mutant 'SETTLE unknown without a mark' hidden NO_MARK -DSENATE $(budget 2 2)
	mutant 'a stale token settles' stale STALE_SETTLES $(budget 2 2)
	mutant 'adopt gives back a posting job' holder ADOPT_POSTING $(budget 2 2)
	mutant 'adopt calls unsent what was begun' hidden ADOPT_UNSENT $(budget 1 1)
	mutant 'the same, Senate' hidden ADOPT_UNSENT -DSENATE $(budget 1 1)
	mutant 'begin without a look at the token' place BEGIN_WITHOUT_TOKEN $(budget 2 2)
	mutant 'a GO is used past its grant' holder NO_GRANT $(budget 2 2)
	mutant 'a late acceptance is hidden' hidden LATE_HIDDEN -DSENATE $(budget 2 2)
	mutant 'an end ignores the marks' hidden END_IGNORES_MARKS -DSENATE $(budget 2 2)
	mutant 'a new generation ignores the marks' once GENERATION_IGNORES_MARKS $(budget 1 2)
	mutant 'a new DeliveryId each time' once NEW_ID -DSENATE $(budget 2 2)
	mutant 'a late answer makes forget a cancel' cancel CANCEL_FORGOTTEN $(budget 1 2)
	mutant 'a job of STALE is just forgotten' left STALE_FORGOTTEN $(budget 1 2)
	mutant 'ADOPT only after a join' end NO_ADOPT $(budget 1 2)
	mutant 'TAKE past its own lease' holder TAKE_PAST_LEASE $(budget 1 1)
}

echo "model: $runs searches, $mutants broken variants"
exit $bad
