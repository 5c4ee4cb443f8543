# bash completion for secretlet; `secretlet internal-complete` knows the words.
# shellcheck shell=bash
_secretlet() {
	local program=${COMP_WORDS[0]/#\~/$HOME} words=() word glue='' line cur before=''

	# "--output=json" comes in three words
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if [ -n "$glue" ] || [ "$word" = "=" ]; then
			words[${#words[@]}-1]+=$word
		else
			words+=("$word")
		fi
		glue=''
		[ "$word" != "=" ] || glue=1
	done
	cur=${words[${#words[@]}-1]-}
	case $cur:$COMP_WORDBREAKS in --*=*:*=*) before=${cur%%=*}= ;; esac

	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files | :dirs)
			compopt -o filenames 2>/dev/null
			while IFS= read -r word; do COMPREPLY+=("$word"); done < <(
				if [ "$line" = :dirs ]; then compgen -d -- "${cur#*=}"; else compgen -f -- "${cur#*=}"; fi
			)
			;;
		*)
			word=${line%%$'\t'*}
			COMPREPLY+=("${word#"$before"}")
			;;
		esac
	done < <("$program" internal-complete -- "${words[@]}" 2>/dev/null)
}
complete -F _secretlet secretlet
