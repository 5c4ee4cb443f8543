# shellcheck shell=bash
# What a volume costs does not depend on how many there are.

# as_much NAME FEW COST MANY COST: each of many costs 15 percent more than each of few, at most
as_much() {
	echo "# $1: $(($3 / $2)) for each of $2, $(($5 / $4)) for each of $4"
	[ "$3" -gt "$2" ] && [ $(($5 * $2 * 100)) -le $(($3 * $4 * 115)) ]
}
