package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

var shells = []string{"bash", "zsh", "fish"}

func completionVerb() *verb {
	v := newVerb("completion", strings.Join(shells, " | "), "a script that completes this command in a shell", `Writes a script for the shell. To load it:

bash   source <(lockd-inspect completion bash)
zsh    source <(lockd-inspect completion zsh)
fish   lockd-inspect completion fish | source`)
	v.takes = []argument{aShell}
	v.run = func(t *tool, args []string) int {
		if len(args) != 1 || !slices.Contains(shells, args[0]) {
			return t.misused(v, fmt.Errorf("completion for which shell? there are: %s", strings.Join(shells, ", ")))
		}
		w := bufio.NewWriter(t.stdout)
		if args[0] == "fish" {
			completeFish(w)
		} else {
			completeBash(w, args[0] == "zsh")
		}
		return t.written(w)
	}
	return v
}

// valuesOf are what a flag takes, if that is known.
func valuesOf(v *verb, flag string) []string {
	switch flag {
	case "format":
		return graphFormats
	case "kind":
		return kinds
	case "columns", "sort":
		var all []string
		for _, c := range v.columns {
			all = append(all, c.name)
		}
		return all
	}
	return nil
}

// completeBash writes a function that zsh understands with bashcompinit, too.
// Names of arenas and locks come from the command itself.
func completeBash(w *bufio.Writer, zsh bool) {
	if zsh {
		fmt.Fprintln(w, "autoload -U +X compinit bashcompinit && compinit -u && bashcompinit")
	}
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	fmt.Fprintf(w, `_lockd_inspect_locks() {
    lockd-inspect locks "$1" --no-headers -o name 2>/dev/null
}
_lockd_inspect() {
    local IFS=$'\n' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} words= flags= i n=0 arena=
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -*) ;;
        *) [ "$n" = 0 ] && arena=${COMP_WORDS[i]}; n=$((n + 1)) ;;
        esac
    done
    if [ "$COMP_CWORD" = 1 ]; then
        words=$'%s\n'$(lockd-inspect --no-headers -o name 2>/dev/null)
    else
        case $verb in
`, strings.Join(names, `\n`))
	for _, v := range verbs() {
		var flags []string
		values := ""
		v.flags.VisitAll(func(f *pflag.Flag) {
			flags = append(flags, "--"+f.Name)
			if f.Shorthand != "" {
				flags = append(flags, "-"+f.Shorthand)
			}
			if of := valuesOf(v, f.Name); of != nil {
				either := "--" + f.Name
				if f.Shorthand != "" {
					either += "|-" + f.Shorthand
				}
				values += fmt.Sprintf("            %s) COMPREPLY=($(compgen -W $'%s' -- \"$cur\")); return ;;\n", either, strings.Join(of, `\n`))
			}
		})
		fmt.Fprintf(w, "        %s)\n            flags=$'%s'\n", v.name, strings.Join(flags, `\n`))
		if values != "" {
			fmt.Fprintf(w, "            case $prev in\n%s            esac\n", values)
		}
		if len(v.takes) > 0 {
			fmt.Fprintln(w, "            case $n in")
			for i, a := range v.takes {
				fmt.Fprintf(w, "            %d) words=%s ;;\n", i, bashWords(a, names))
			}
			fmt.Fprintln(w, "            esac")
		}
		fmt.Fprintln(w, "            ;;")
	}
	fmt.Fprint(w, `        esac
    fi
    case $cur in -*) words=$flags ;; esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _lockd_inspect lockd-inspect
`)
}

func bashWords(a argument, verbNames []string) string {
	switch a {
	case anArena:
		return "$(lockd-inspect --no-headers -o name 2>/dev/null)"
	case aLock:
		return `$(_lockd_inspect_locks "$arena")`
	case aPID:
		return `$(lockd-inspect who "$arena" --no-headers -o pid 2>/dev/null)`
	case aVerb:
		return `$'` + strings.Join(verbNames, `\n`) + `'`
	case aShell:
		return `$'` + strings.Join(shells, `\n`) + `'`
	case aSemAction:
		return `$'` + strings.Join(semActions, `\n`) + `'`
	}
	return ""
}

func completeFish(w *bufio.Writer) {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	fmt.Fprintln(w, "complete -c lockd-inspect -f")
	for _, v := range verbs() {
		fmt.Fprintf(w, "complete -c lockd-inspect -n __fish_use_subcommand -a %s -d %s\n", v.name, quote(v.says))
		seen := "-n " + quote("__fish_seen_subcommand_from "+v.name)
		v.flags.VisitAll(func(f *pflag.Flag) {
			line := fmt.Sprintf("complete -c lockd-inspect %s -l %s", seen, f.Name)
			if f.Shorthand != "" {
				line += " -s " + f.Shorthand
			}
			if f.NoOptDefVal == "" {
				line += " -r"
			}
			if of := valuesOf(v, f.Name); of != nil {
				line += " -a " + quote(strings.Join(of, " "))
			}
			_, usage := pflag.UnquoteUsage(f)
			fmt.Fprintf(w, "%s -d %s\n", line, quote(usage))
		})
		for i, a := range v.takes {
			if words := fishWords(a); words != "" {
				at := fmt.Sprintf("-n '__fish_seen_subcommand_from %s; and test (count (__lockd_inspect_words)) -eq %d'", v.name, i+2)
				fmt.Fprintf(w, "complete -c lockd-inspect %s -a %s\n", at, quote(words))
			}
		}
	}
	fmt.Fprint(w, `function __lockd_inspect_words
    string match -v -- '-*' (commandline -opc)
end
`)
}

func fishWords(a argument) string {
	const arena = "(__lockd_inspect_words)[3]"
	switch a {
	case anArena:
		return "(lockd-inspect --no-headers -o name 2>/dev/null)"
	case aLock:
		return "(lockd-inspect locks " + arena + " --no-headers -o name 2>/dev/null)"
	case aPID:
		return "(lockd-inspect who " + arena + " --no-headers -o pid 2>/dev/null)"
	case aVerb:
		var names []string
		for _, v := range verbs() {
			names = append(names, v.name)
		}
		return strings.Join(names, " ")
	case aShell:
		return strings.Join(shells, " ")
	case aSemAction:
		return strings.Join(semActions, " ")
	}
	return ""
}
