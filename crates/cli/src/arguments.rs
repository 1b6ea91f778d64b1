//! The command line.

use clap::builder::RangedU64ValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use paretopo_settings::{NonNegative, Seconds};
use paretopo_training::Pieces;
use std::path::PathBuf;

/// Trains tool-calling language agents under several objectives (ParetoPO and its baselines).
#[derive(Debug, Parser)]
#[command(name = "paretopo", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Backend and device, as NAME or NAME:INDEX; `paretopo devices` lists what is there
    #[arg(long, global = true, value_name = "NAME[:INDEX]")]
    pub(crate) backend: Option<String>,

    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// End when the process of this id, which started this one, has ended
    #[arg(long, global = true, hide = true, value_name = "ID")]
    pub(crate) end_with: Option<u32>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// The command line of a program that knows these pieces.
    pub(crate) fn command_line(pieces: &Pieces) -> clap::Command {
        let known = format!(
            "What `type` can be:\n  environment  {}\n  tools        {}\n  objectives   {}\n  \
             estimator    {}",
            pieces.environments.listed(),
            pieces.tools.listed(),
            pieces.objectives.listed(),
            pieces.estimators.listed(),
        );
        let name = crate::program::own_name();
        let mut command = Self::command().name(name.clone()).bin_name(name);
        for recipe in ["train", "sft", "evaluate", "plan", "compare", "new"] {
            command = command.mut_subcommand(recipe, |recipe| recipe.after_help(known.clone()));
        }
        let estimators = pieces.estimators.listed();
        command.mut_subcommand("advantages", |command| {
            command.mut_arg("estimator", |argument| {
                argument.help(format!("The estimator, as `type` in a configuration: {estimators}"))
            })
        })
    }
}

/// A configuration file and changes to it.
#[derive(Args, Debug)]
pub(crate) struct ConfigArguments {
    /// TOML configuration; the built-in math experiment when absent
    pub(crate) config: Option<PathBuf>,

    /// Change a setting, e.g. `--set train.steps=200` (repeatable)
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(crate) set: Vec<String>,

    /// The policy to start from: a checkpoint folder, or a model on the hub as
    /// `owner/name[@revision]`
    #[arg(long, value_name = "DIR|NAME")]
    pub(crate) model: Option<String>,

    /// A low-rank adapter (a peft folder) to start from
    #[arg(long, value_name = "DIR", requires = "model")]
    pub(crate) adapter: Option<PathBuf>,

    /// Print the resolved configuration, and which programs a run would start, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A count from `low` to `high`.
fn count(low: u64, high: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(low..=high)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a policy by reinforcement learning; the same command resumes an interrupted run
    Train {
        #[command(flatten)]
        config: ConfigArguments,
        /// Folder of the run
        #[arg(long, value_name = "DIR", default_value = "runs/train")]
        run: PathBuf,
    },
    /// Warm-start a policy on the environment's demonstrations, or on conversations (`sft.data`)
    Sft {
        #[command(flatten)]
        config: ConfigArguments,
        /// Folder of the run
        #[arg(long, value_name = "DIR", default_value = "runs/sft")]
        run: PathBuf,
    },
    /// Evaluate a policy on held-out tasks
    Evaluate {
        #[command(flatten)]
        config: ConfigArguments,
        /// Data sets to evaluate on instead, such as `gsm8k,math-500`; ends with a table
        #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
        benchmarks: Vec<String>,
        /// Let no episode begin a call, as `evaluation.tool_free` does: what is known by heart
        #[arg(long)]
        tool_free: bool,
        /// Folder for results and trajectories; the same command resumes an interrupted evaluation
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Write the episodes as another program's log, too, into the folder of `--out`
        #[arg(long, value_enum, requires = "out")]
        format: Option<LogFormat>,
    },
    /// Compute the memory that a training run will need, before anything is loaded
    Plan {
        #[command(flatten)]
        config: ConfigArguments,
        /// Tokens of the longest prompt
        #[arg(
            long,
            value_name = "N",
            default_value_t = crate::commands::USUAL_PROMPT,
            value_parser = count(1, 1_000_000_000),
            allow_negative_numbers = true
        )]
        prompt_tokens: usize,
        /// Processes that train together; the memory is that of each
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(1, 65_536), allow_negative_numbers = true)]
        ranks: usize,
    },
    /// Train several methods with several seeds and compare them in a table and a picture
    Compare {
        /// TOML list of methods and seeds; the built-in quick math experiment when absent
        experiment: Option<PathBuf>,
        /// Folder for the runs, the table and the figures
        #[arg(long, value_name = "DIR", default_value = "runs/compare")]
        out: PathBuf,
        /// Change a setting of every method (repeatable)
        #[arg(long, value_name = "KEY.PATH=VALUE")]
        set: Vec<String>,
        /// Print which runs there are, and which programs they would start, and stop
        #[arg(long)]
        dry_run: bool,
        /// Make the table and the figures of the runs that are finished, and start none
        #[arg(long, conflicts_with = "dry_run")]
        finished: bool,
        /// Runs at a time; one per core when absent, or 64 behind a launcher
        #[arg(long, value_parser = count(1, 1024), allow_negative_numbers = true)]
        jobs: Option<usize>,
        /// Words in front of each run's command, such as `srun -n1`; what they start on other
        /// machines needs the same folders
        #[arg(long, value_name = "WORDS", conflicts_with_all = ["dry_run", "finished"])]
        launcher: Option<crate::commands::Launcher>,
    },
    /// Compute what can be had without learning when to call, for the fronts of `compare`
    Controls {
        /// Folder of an evaluation in which no call could be made (`evaluate --tool-free --out`)
        #[arg(long, value_name = "DIR")]
        head: PathBuf,
        /// Folder of an evaluation of a policy that makes the calls that each task takes
        #[arg(long, value_name = "DIR")]
        tool: PathBuf,
        /// The calls that a level takes, where they are known, e.g. `--calls 4=2` (repeatable)
        #[arg(long, value_name = "LEVEL=CALLS")]
        calls: Vec<String>,
        /// Write them to a file, `controls.json` beside an experiment
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Let a policy solve one question and show what it did
    Solve {
        /// The question
        question: String,
        #[command(flatten)]
        config: ConfigArguments,
        /// What to prefer: a weight for each objective, for a policy that was trained to be told
        #[arg(long, value_name = "W,..", value_delimiter = ',', allow_negative_numbers = true)]
        preference: Vec<NonNegative>,
    },
    /// Write the default configuration, a tokenizer or the skeleton of an architecture
    New {
        /// What to write
        #[arg(value_enum)]
        what: NewThing,
        /// Where to, or the architecture's name
        target: String,
    },
    /// Show what a run's time went into, phase by phase
    Phases {
        /// Folder of a run, or of an evaluation's `--out`
        run: PathBuf,
    },
    /// List the compiled-in backends and whether their devices are there
    Devices,
    /// Say what is wrong with a run, and what to try; without one, what this machine offers to hold
    /// programs that a model wrote
    Doctor {
        /// Folder of a run, also of one that is at work
        run: Option<PathBuf>,
        /// Print verdicts and what they are judged by as JSON
        #[arg(long, requires = "run")]
        json: bool,
    },
    /// Hold a backend against PyTorch's numbers for tiny models of every architecture
    Check {
        /// Folder of fixtures
        #[arg(default_value = "tests/fixtures/models")]
        fixtures: PathBuf,
        /// Compare logits and gradients alone, where a device compiles its kernels slowly
        #[arg(long)]
        gradients: bool,
        /// Write the comparisons to a JSON file, too
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Score sequences: `{"ids":[..]}` or `{"text":..}` ->
    /// `{"logprobs":[..],"top":[[id,logit],..]}`
    Score {
        /// Checkpoint folder
        model: PathBuf,
        /// JSON lines; `-` for standard input
        file: PathBuf,
    },
    /// Show conversations as a policy reads them, and what of them it would learn to write:
    /// `{"messages":[..],"tools":[..]}` -> `{"text":..,"ids":[..],"assistant":[..],"trained":[..]}`
    Render {
        /// The policy: a checkpoint folder, or a model on the hub as `owner/name[@revision]`
        model: String,
        /// JSON lines; `-` for standard input
        file: PathBuf,
        /// Print JSON lines on a terminal, too, in place of the text in colour
        #[arg(long)]
        json: bool,
    },
    /// Rank points: `{"point":[..]}` -> the same with `"rank"`, then `{"hypervolume":..}`
    Front {
        /// JSON lines; `-` for standard input
        file: PathBuf,
        /// Reference point of the hypervolume, e.g. `0,0`; the origin when absent
        #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
        reference: Vec<f64>,
    },
    /// Estimate advantages: `{"group":..,"rewards":[..]}` -> the same with `"advantage"`
    Advantages {
        /// JSON lines; `-` for standard input. `"calls"` is needed by `otc` and `call_penalty`
        #[arg(required_unless_present = "call_threshold")]
        file: Option<PathBuf>,
        /// Print p* instead: from which success rate in the head on no call is preferred to a sure
        /// one, for r_tool with this alpha
        #[arg(long, value_name = "ALPHA", conflicts_with = "file", allow_negative_numbers = true)]
        call_threshold: Option<NonNegative>,
        /// The estimator, as `type` in a configuration
        #[arg(long)]
        estimator: String,
        /// Change a setting of the estimator, e.g. `--set beta=0.5` (repeatable)
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Seed of estimators that draw random numbers
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        seed: u64,
    },
    /// Grade answers: `{"gold":..,"pred":..}` -> the same with `"equal"` (math) or `"em"` and
    /// `"f1"` (qa)
    Grade {
        /// JSON lines; `-` for standard input. For qa `gold` may be a list of accepted answers
        file: PathBuf,
        /// How answers are compared
        #[arg(long, value_enum, default_value_t = GradeKind::Math)]
        kind: GradeKind,
    },
    /// Search a corpus, or measure how well the passages of questions are found
    Search {
        /// Corpus of `{"id","title","text"}` lines; indexed once
        corpus: PathBuf,
        /// What to look for
        #[arg(long, required_unless_present = "questions")]
        query: Option<String>,
        /// File of questions with supporting passages: reports the share whose passages are all
        /// found
        #[arg(long, value_name = "FILE", conflicts_with = "query")]
        questions: Option<PathBuf>,
        /// Passages a query
        #[arg(
            long,
            default_value_t = 10,
            value_parser = count(1, 10_000),
            allow_negative_numbers = true
        )]
        topk: usize,
    },
    /// Serve a corpus by the retrieval protocol of Search-R1 (`POST /retrieve`)
    ServeSearch {
        /// Corpus of `{"id","title","text"}` lines; indexed once
        corpus: PathBuf,
        /// Where to listen; port 0 for any
        #[arg(long, default_value = "127.0.0.1:8000")]
        address: String,
        /// Passages a query, for requests that do not say
        #[arg(
            long,
            default_value_t = 3,
            value_parser = count(1, 100),
            allow_negative_numbers = true
        )]
        topk: usize,
    },
    /// Show runs and their trajectories on a page in the browser, live; or write it as one file
    View {
        /// Folders of runs, or folders that hold such; `runs` when absent
        #[arg(value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// Write the page with all it shows to a file of HTML, and serve nothing
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
        /// Where to listen; port 0 for any. By default on this machine alone
        #[arg(long, default_value = "127.0.0.1:8017", conflicts_with = "export")]
        address: String,
    },
    /// Run a program in the Python tool's sandbox and print what the model would read
    Python {
        /// The program; `-` for standard input
        file: PathBuf,
        /// Who runs it
        #[arg(long, value_enum, default_value_t = Interpreter::Monty)]
        interpreter: Interpreter,
        /// Seconds it may take
        #[arg(
            long,
            default_value_t = Seconds::literal(2.0),
            allow_negative_numbers = true
        )]
        seconds: Seconds,
        /// Memory in MiB
        #[arg(
            long,
            default_value_t = 64,
            value_parser = count(1, 1 << 20),
            allow_negative_numbers = true
        )]
        memory: usize,
        /// Characters of output; longer output loses its middle
        #[arg(
            long,
            default_value_t = 256,
            value_parser = count(0, 1_000_000_000),
            allow_negative_numbers = true
        )]
        output: usize,
    },
    /// Interpolate checkpoints of one architecture: the weighted mean of their weights
    Soup {
        /// Checkpoint folders, at least two
        #[arg(required = true, num_args = 2.., value_name = "DIR")]
        checkpoints: Vec<PathBuf>,
        /// A weight for each, adding up to 1; equal ones when absent
        #[arg(long, value_name = "W,..", value_delimiter = ',', allow_hyphen_values = true)]
        weights: Vec<f64>,
        /// The folder of the new checkpoint
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    PythonWorker,
    #[command(hide = true)]
    PythonSandbox { settings: String },
    #[command(hide = true)]
    EnclosedProgram { settings: String },
    #[command(hide = true)]
    TemplateWorker,
}

/// The interpreters that need no server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Interpreter {
    /// The embedded one
    Monty,
    /// The system's, in a sandbox
    Cpython,
}

impl From<Interpreter> for paretopo_tools::PythonInterpreter {
    fn from(interpreter: Interpreter) -> Self {
        match interpreter {
            Interpreter::Monty => Self::Monty,
            Interpreter::Cpython => Self::Cpython,
        }
    }
}

/// Logs of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Inspect, opened by `inspect view --log-dir DIR`
    Inspect,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GradeKind {
    /// Numbers, fractions, `\\boxed`
    Math,
    /// Words: exact match and F1 as the official HotpotQA script has them
    Qa,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NewThing {
    /// The default configuration, to a file: every key, with what it is for and can be
    Config,
    /// The JSON Schema of configurations, by which editors complete and check them, to a file
    Schema,
    /// The reference of all keys, as Markdown, to a file
    Reference,
    /// The tokenizer of the math environment, to a folder
    Tokenizer,
    /// The tokenizer of the math environment's graded problems, to a folder
    GradedTokenizer,
    /// The tokenizer of the question environment's world, to a folder
    QaTokenizer,
    /// The same with words for notes and with preference tokens, for a familiar world
    QaFamiliarTokenizer,
    /// `models/src/NAME.rs`, and what to add by hand
    Architecture,
}
