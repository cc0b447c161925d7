/* completion.c: see completion.h.  The script knows all fixed words; names of templates, desktops
 * and so on it asks imagectl for, which prints them in the first column of its CSV. */
#include "imaged/cli/completion.h"

#include "imaged/cli/each.h"

static const char head[] =
    "# bash completion for imagectl; made by 'imagectl completion bash'.\n"
    "\n"
    "# _imagectl_names KIND: the names that begin with $cur, asked of the daemon that the line "
    "names.\n"
    "_imagectl_names()\n"
    "{\n"
    "    local list\n"
    "    case $1 in\n"
    "        desktop) list=(desktop list --prefix \"$cur\") ;;\n"
    "        template | store | export | job | trash | rollout | host | alert | search)\n"
    "            list=(\"$1\" list) ;;\n"
    "        *) return ;;\n"
    "    esac\n"
    "    \"${words[0]}\" \"${globals[@]}\" -o csv \"${list[@]}\" 2>/dev/null </dev/null |\n"
    "        sed -e 1d -e 's/,.*//'\n"
    "}\n"
    "\n"
    "# _imagectl_offer KIND: set COMPREPLY to what may stand here.\n"
    "_imagectl_offer()\n"
    "{\n"
    "    case $1 in\n"
    "        file) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); compopt -o filenames ;;\n"
    "        folder) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); compopt -o filenames ;;\n"
    "        '') ;;\n"
    "        *) mapfile -t COMPREPLY < <(compgen -W \"$(_imagectl_names \"$1\")\" -- \"$cur\") ;;\n"
    "    esac\n"
    "}\n"
    "\n";

static const char body[] =
    "# _imagectl_search OBJECT: what can stand at the cursor of a search that is being typed.\n"
    "_imagectl_search()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} typed=${cur#[\\'\\\"]} text word found\n"
    "    case $line in\n"
    "        *--search[\\ =]*) text=${line##*--search[ =]} ;;\n"
    "        *) text=${line#*[[:space:]]search[[:space:]]} ;;\n"
    "    esac\n"
    "    text=${text#\"${text%%[![:space:]]*}\"}\n"
    "    text=${text#[\\'\\\"]}\n"
    "    mapfile -t found < <(\"${words[0]}\" \"${globals[@]}\" search --complete --whole \\\n"
    "        ${1:+--object \"$1\"} -- \"$text\" 2>/dev/null </dev/null)\n"
    "    # Readline replaces $typed, the end of what is there already.\n"
    "    for word in \"${found[@]}\"; do\n"
    "        COMPREPLY+=(\"${word#\"${text%\"$typed\"}\"}\")\n"
    "    done\n"
    "    compopt -o nospace -o noquote 2>/dev/null\n"
    "}\n"
    "\n"
    "_imagectl()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    local words=(\"${COMP_WORDS[@]}\") globals=() noun='' verb='' n=0 i\n"
    "    local verbs options choices kind value\n"
    "    COMPREPLY=()\n"
    "    # An '=' is a word of its own to bash: '--state=DIR' counts like '--state DIR'.\n"
    "    [ \"$cur\" = = ] && cur=\n"
    "    [ \"$prev\" = = ] && prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        case ${words[i]} in\n"
    "            =) ;;\n"
    "            --state | --socket | --url)\n"
    "                globals+=(\"${words[i]}\" \"${words[i + 1]}\")\n"
    "                [ \"${words[i + 1]}\" = = ] && globals[-1]=${words[i + 2]} && ((i++))\n"
    "                ((i++)) ;;\n"
    "            -o | --output) ((i++)) ;;\n"
    "            -*) _imagectl_takes_value \"$noun $verb\" \"${words[i]}\" && ((i++)) ;;\n"
    "            *)\n"
    "                if [ -z \"$noun\" ]; then noun=${words[i]}\n"
    "                elif [ -z \"$verb\" ]; then verb=${words[i]}\n"
    "                else ((n++)); fi ;;\n"
    "        esac\n"
    "    done\n"
    "    _imagectl_table \"$noun\" \"$verb\" \"$prev\"\n"
    "    if [ -n \"$choices\" ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$choices\" -- \"$cur\")\n"
    "    elif [ \"$value\" = search ]; then\n"
    "        case $noun-$verb in\n"
    "            *-list) _imagectl_search \"$noun\" ;;\n"
    "            *) _imagectl_search ;;\n"
    "        esac\n"
    "    elif [ -n \"$value\" ]; then\n"
    "        _imagectl_offer \"$value\"\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
    "    elif [ \"$noun\" = search ] && [[ $verb != @(save|list|delete) ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$verbs\" -- \"$cur\")\n"
    "        [ -n \"$verb\" ] && COMPREPLY=()\n"
    "        _imagectl_search\n"
    "    elif [ -z \"$noun\" ] || [ -z \"$verb\" ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$verbs\" -- \"$cur\")\n"
    "    elif [ \"$kind\" = file ] && [ $n -eq 0 ]; then\n"
    "        _imagectl_offer template\n"
    "    else\n"
    "        _imagectl_offer \"$kind\"\n"
    "    fi\n"
    "}\n"
    "complete -F _imagectl imagectl\n";

static void append_options(GString *out, const Option *options)
{
    for (const Option *o = options; o && o->name; o++)
        g_string_append_printf(out, " --%s", o->name);
}

/* The case that says what follows an option which takes a value. */
static void append_values(GString *out, const Option *options, const char *command)
{
    for (const Option *o = options; o && o->name; o++) {
        if (o->kind == OPTION_FLAG)
            continue;
        g_autofree char *words = g_strdelimit(g_strdup(o->metavar), "|", ' ');
        if (g_str_equal(o->name, "output"))
            g_string_append_printf(out, "        '%s -o' |", command);
        g_string_append_printf(out, "        '%s --%s') ", command, o->name);
        if (o->kind == OPTION_CHOICE)
            g_string_append_printf(out, "choices='%s' ;;\n", words);
        else
            g_string_append_printf(out, "value='%s' ;;\n", o->completes ? o->completes : "none");
    }
}

static void append_takes_value(GString *out)
{
    g_string_append(out, "# _imagectl_takes_value 'NOUN VERB' OPTION: does a value follow?\n"
                         "_imagectl_takes_value()\n{\n    case \"$1 $2\" in\n");
    for (const Noun *const *noun = commands_nouns(); *noun; noun++) {
        for (const Command *c = (*noun)->commands; c->run; c++) {
            if (each_options(*noun, c))
                g_string_append_printf(out, "        '%s %s --search') return 0 ;;\n",
                                       (*noun)->name, c->verb);
            for (const Option *o = c->options; o && o->name; o++) {
                if (o->kind != OPTION_FLAG)
                    g_string_append_printf(out, "        '%s %s --%s') return 0 ;;\n",
                                           (*noun)->name, c->verb ? c->verb : "", o->name);
            }
        }
    }
    g_string_append(out, "        *) return 1 ;;\n    esac\n}\n\n");
}

static void append_table(GString *out)
{
    g_string_append(
        out,
        "# _imagectl_table NOUN VERB PREVIOUS-WORD: set verbs, options, kind, choices, value.\n"
        "_imagectl_table()\n{\n    options='");
    append_options(out, commands_global_options());
    g_string_append(
        out, "'\n    verbs='' kind='' choices='' value=''\n    case $1 in\n        '') verbs='");
    for (const Noun *const *noun = commands_nouns(); *noun; noun++)
        g_string_append_printf(out, " %s", (*noun)->name);
    g_string_append(out, "' ;;\n");
    for (const Noun *const *noun = commands_nouns(); *noun; noun++) {
        g_string_append_printf(out, "        %s) verbs='", (*noun)->name);
        for (const Command *c = (*noun)->commands; c->run; c++)
            g_string_append_printf(out, " %s", c->verb ? c->verb : "");
        g_string_append(out, "' ;;\n");
    }
    g_string_append(out, "    esac\n    case \"$1 $2\" in\n");
    for (const Noun *const *noun = commands_nouns(); *noun; noun++) {
        for (const Command *c = (*noun)->commands; c->run; c++) {
            g_string_append_printf(out, "        '%s %s') kind='%s' options+='", (*noun)->name,
                                   c->verb ? c->verb : "", c->completes ? c->completes : "");
            append_options(out, c->options);
            append_options(out, each_options(*noun, c));
            g_string_append(out, "' ;;\n");
        }
    }
    g_string_append(out, "    esac\n    case \"$1 $2 $3\" in\n");
    for (const Noun *const *noun = commands_nouns(); *noun; noun++) {
        for (const Command *c = (*noun)->commands; c->run; c++) {
            g_autofree char *name = g_strdup_printf("%s %s", (*noun)->name, c->verb ? c->verb : "");
            append_values(out, c->options, name);
            append_values(out, each_options(*noun, c), name);
        }
    }
    g_string_append(out,
                    "    esac\n    [ -n \"$choices$value\" ] && return\n    case \"x $3\" in\n");
    append_values(out, commands_global_options(), "x");
    g_string_append(out, "    esac\n}\n\n");
}

void completion_bash(GString *out)
{
    g_string_append(out, head);
    append_takes_value(out);
    append_table(out);
    g_string_append(out, body);
}
