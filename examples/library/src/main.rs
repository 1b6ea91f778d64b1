//! `paretopo-example-library models/tiny-math 7+8=15 9-4=5`

use paretopo_example_library::{ask, is_right};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, pairs) = arguments.split_first().ok_or("name a checkpoint folder")?;
    let pairs: Option<Vec<_>> = pairs.iter().map(|pair| pair.split_once('=')).collect();
    let (questions, answers): (Vec<_>, Vec<_>) =
        pairs.ok_or("a question is written `7+8=15`")?.into_iter().unzip();
    for (response, right) in ask(folder.as_ref(), &questions)?.iter().zip(answers) {
        println!("{response}  {}", if is_right(response, right) { "right" } else { "wrong" });
    }
    Ok(())
}
