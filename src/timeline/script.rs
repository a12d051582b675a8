//! What an interpreter runs, by its arguments: a script, a module, or code that was given in a word. Code may hold secrets
//! and names nothing, so an option that is not known here leaves the interpreter's own name. Pure text: reads no file.

/// What an interpreter was given to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// A file.
    Script(&'a str),
    /// A module, of Python.
    Module(&'a str),
    /// Code.
    Code(&'a str),
    /// Nothing, its standard input, or what cannot be told.
    Untold,
}

/// How an interpreter reads its options. A letter that is in none of them is not known.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// Letters that stand alone, and may stand in one word.
    flags: &'static str,
    /// Letters that take the rest of their word, or else the next one.
    valued: &'static str,
    /// Letters that take the rest of their word, if there is one.
    rest: &'static str,
    /// Letters that take the next word, whatever follows them in their own.
    next: &'static str,
    /// Letters after which comes code; of a shell, after all options.
    code: &'static str,
    /// Letters after which comes the script.
    script: &'static str,
    /// Letters after which comes a module.
    module: &'static str,
    /// Long options that stand alone.
    long_flags: &'static [&'static str],
    /// Beginnings of more of them.
    long_begin: &'static [&'static str],
    /// Long options that take the next word, unless they hold a `=`.
    long_valued: &'static [&'static str],
    /// Whether any other long option with a `=` is complete in itself and no code.
    long_complete: bool,
}

const PYTHON: Options = Options {
    flags: "bBdEhiIOPqRsStuvVx?",
    valued: "WX",
    code: "c",
    module: "m",
    long_valued: &["--check-hash-based-pycs"],
    ..NOTHING
};
const SHELL: Options = Options {
    flags: "abdefhiklmnpruvxBCDEHPT",
    next: "oO",
    code: "cs",
    long_flags: &["--login", "--norc", "--noprofile", "--posix", "--verbose", "--noediting", "--restricted"],
    long_valued: &["--rcfile", "--init-file"],
    ..NOTHING
};
const FISH: Options = Options { flags: "ilnNP", code: "cC", ..NOTHING };
const PERL: Options = Options { flags: "acfilnpsStTuUvwWX0123456789", valued: "I", rest: "MmF", code: "eE", ..NOTHING };
const RUBY: Options = Options {
    flags: "acdhilnpsSUvwWy0123456789",
    valued: "IrECX",
    rest: "FK",
    code: "e",
    long_flags: &["--verbose", "--yjit", "--jit", "--rjit", "--debug"],
    long_valued: &["--disable", "--enable", "--encoding", "--external-encoding", "--internal-encoding"],
    long_complete: true,
    ..NOTHING
};
const LUA: Options = Options { flags: "ivEW", valued: "l", code: "e", ..NOTHING };
const NODE: Options = Options {
    flags: "chiv",
    valued: "rC",
    code: "ep",
    long_flags: &[
        "--check",
        "--enable-source-maps",
        "--expose-gc",
        "--expose_gc",
        "--inspect",
        "--inspect-brk",
        "--interactive",
        "--preserve-symlinks",
        "--preserve-symlinks-main",
        "--prof",
        "--cpu-prof",
        "--heap-prof",
        "--test",
        "--watch",
        "--use-strict",
        "--use_strict",
        "--throw-deprecation",
        "--pending-deprecation",
        "--experimental-vm-modules",
        "--experimental-strip-types",
        "--experimental-modules",
        "--experimental-worker",
        "--experimental-fetch",
    ],
    long_begin: &["--no-", "--trace-", "--harmony", "--abort-on"],
    long_valued: &[
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "--conditions",
        "--env-file",
        "--title",
    ],
    long_complete: true,
    ..NOTHING
};
const DENO: Options = Options {
    flags: "Aqr",
    valued: "c",
    long_flags: &["--quiet", "--reload", "--cached-only", "--no-prompt"],
    long_begin: &["--allow-", "--deny-", "--no-", "--unstable", "--check"],
    long_valued: &["--config", "--import-map", "--lock", "--seed", "--cert", "--location"],
    long_complete: true,
    ..NOTHING
};
const RSCRIPT: Options = Options {
    valued: "g",
    code: "e",
    long_flags: &["--vanilla", "--verbose", "--slave", "--restore", "--save", "--quiet", "--silent", "--interactive"],
    long_begin: &["--no-"],
    long_complete: true,
    ..NOTHING
};
const PHP: Options = Options {
    flags: "aCeHilmnqsvw",
    valued: "cdStz",
    code: "rBRE",
    script: "fF",
    long_flags: &["--no-php-ini", "--no-header", "--interactive"],
    long_valued: &["--php-ini", "--define", "--server", "--docroot", "--zend-extension"],
    ..NOTHING
};
const NOTHING: Options = Options {
    flags: "",
    valued: "",
    rest: "",
    next: "",
    code: "",
    script: "",
    module: "",
    long_flags: &[],
    long_begin: &[],
    long_valued: &[],
    long_complete: false,
};

/// Long options after which comes code, of any interpreter.
const LONG_CODE: [&str; 6] = ["--eval", "--print", "--run", "--command", "--init-command", "--process-code"];

/// What `program`, an interpreter, was given in the words behind its own name.
pub fn given<'a>(program: &str, words: &'a [String]) -> Given<'a> {
    let mut words = words.iter().map(String::as_str);
    let stem = program.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let options = match stem {
        "fish" => FISH,
        "perl" => PERL,
        "ruby" => RUBY,
        "lua" => LUA,
        "node" => NODE,
        "Rscript" => RSCRIPT,
        "php" => PHP,
        // Of its subcommands only this one has a script, behind its name.
        "deno" => match words.next() {
            Some("run") => DENO,
            _ => return Given::Untold,
        },
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" => SHELL,
        _ => PYTHON,
    };
    while let Some(word) = words.next() {
        if word == "-" {
            return Given::Untold;
        }
        if word == "--" {
            return words.next().map_or(Given::Untold, Given::Script);
        }
        if let Some(name) = word.strip_prefix("--").map(|_| word.split('=').next().unwrap_or(word)) {
            let whole = word.len() > name.len();
            if LONG_CODE.contains(&name) {
                return Given::Code("");
            }
            if options.long_valued.contains(&name) {
                if !whole {
                    words.next();
                }
            } else if !(options.long_complete && whole
                || options.long_flags.contains(&name)
                || options.long_begin.iter().any(|begin| name.starts_with(begin)))
            {
                return Given::Untold;
            }
            continue;
        }
        // Shells switch options off by `+`.
        let Some(letters) =
            word.strip_prefix('-').or_else(|| word.strip_prefix('+').filter(|_| !options.next.is_empty()))
        else {
            return Given::Script(word);
        };
        for (place, letter) in letters.char_indices() {
            let rest = &letters[place + letter.len_utf8()..];
            let mut value = || if rest.is_empty() { words.next() } else { Some(rest) };
            if options.flags.contains(letter) {
                continue;
            }
            if options.next.contains(letter) {
                words.next();
            } else if options.rest.contains(letter) {
                break;
            } else if options.valued.contains(letter) {
                value();
                break;
            } else if options.code.contains(letter) {
                return Given::Code(value().unwrap_or(""));
            } else if options.script.contains(letter) {
                return value().map_or(Given::Untold, Given::Script);
            } else if options.module.contains(letter) {
                return value().map_or(Given::Untold, Given::Module);
            } else {
                return Given::Untold;
            }
        }
    }
    Given::Untold
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match given(&words[0], &words[1..]) {
            Given::Script(name) => format!("script {name}"),
            Given::Module(name) => format!("module {name}"),
            Given::Code(_) => "code".to_owned(),
            Given::Untold => "untold".to_owned(),
        }
    }

    #[test]
    fn code_is_never_a_script() {
        for line in [
            "bash -c SECRET",
            "bash -ec SECRET",
            "bash -lc SECRET",
            "bash -ce SECRET",
            "bash -c -e SECRET",
            "bash -o pipefail -c SECRET",
            "bash -eo pipefail -c SECRET",
            "bash -euxo pipefail -c SECRET",
            "bash +o history -c SECRET",
            "bash -O extglob -c SECRET",
            "bash --norc -ec SECRET",
            "zsh -fc SECRET",
            "bash --rcfile rc -c SECRET",
            "sh -s SECRET",
            "bash -xs SECRET",
            "fish -C SECRET file",
            "fish --command=SECRET x",
            "fish --command SECRET",
            "perl -e SECRET",
            "perl -we SECRET",
            "perl -ne SECRET",
            "perl -pe SECRET",
            "perl -lane SECRET",
            "perl -0777ne SECRET",
            "perl -pie SECRET file",
            "perl -i.bak -pe SECRET file",
            "perl -Mstrict -E SECRET",
            "perl -F: -ane SECRET",
            "perl -CSDe SECRET",
            "perl -MPOSIX=floor -e SECRET",
            "perl5.36.0 -e SECRET",
            "ruby -e SECRET",
            "ruby -ne SECRET",
            "ruby -rjson -e SECRET",
            "ruby -r json -e SECRET",
            "ruby -Ilib -e SECRET",
            "lua -e SECRET",
            "lua5.4 -l m -e SECRET",
            "node -e SECRET",
            "node --eval SECRET",
            "node --eval=SECRET x",
            "node -p SECRET",
            "node --print SECRET",
            "node -pe SECRET",
            "node -r mod -e SECRET",
            "node --no-warnings -e SECRET",
            "node --some-new-option SECRET",
            "php -r SECRET",
            "php -d a=b -r SECRET",
            "php -nr SECRET",
            "php --run SECRET",
            "php -B SECRET -R SECRET",
            "Rscript -e SECRET",
            "Rscript --vanilla -e SECRET",
            "deno eval SECRET",
            "deno SECRET",
            "python3 -c SECRET",
            "python3 -Ic SECRET",
            "python3 -cSECRET x",
            "python3 -Wignore -c SECRET",
            "python3 -X dev -c SECRET",
            "python3 -uW error -c SECRET",
            "python3 -Z SECRET",
            "python3 - SECRET",
            "node - SECRET",
        ] {
            let told = told(line);
            assert!(told == "code" || told == "untold", "{line}: {told}");
        }
    }

    #[test]
    fn a_script_is_found_behind_options_and_their_values() {
        for (line, script) in [
            ("bash run.sh -c x", "run.sh"),
            ("bash -eu run.sh", "run.sh"),
            ("bash -euo pipefail run.sh", "run.sh"),
            ("bash -- run.sh", "run.sh"),
            ("dash -e run.sh", "run.sh"),
            ("perl -w job.pl -e x", "job.pl"),
            ("perl -Ilib -I more -MData::Dumper job.pl", "job.pl"),
            ("ruby -Ilib -r json job.rb", "job.rb"),
            ("lua -l m job.lua", "job.lua"),
            ("node --max-old-space-size=4096 --no-warnings app.js --eval x", "app.js"),
            ("node -r dotenv/config app.js", "app.js"),
            ("php -d memory_limit=1G job.php", "job.php"),
            ("php -f job.php", "job.php"),
            ("Rscript --vanilla job.R", "job.R"),
            ("deno run -A --allow-net=example.com job.ts", "job.ts"),
            ("python3 -u -X dev -Werror job.py -c x", "job.py"),
            ("python3 -uX dev job.py", "job.py"),
        ] {
            assert_eq!(told(line), format!("script {script}"), "{line}");
        }
        assert_eq!(told("python3 -um etl.parse x"), "module etl.parse");
        assert_eq!(told("python3 -metl.parse"), "module etl.parse");
    }
}
