use std::path::PathBuf;
pub struct Stack { pub dir: PathBuf }
impl Stack {
 pub fn at(dir: PathBuf) -> Self { Self { dir } }
 pub fn up(&self, _: &mut dyn FnMut(&str)) -> Result<(), std::io::Error> { Ok(()) }
 pub fn down(&self, _: &mut dyn FnMut(&str)) -> Result<(), std::io::Error> { Ok(()) }
 pub fn status(&self) -> String { String::new() }
 pub fn env(&self) -> Result<Vec<(String,String)>, std::io::Error> { Ok(vec![]) }
}
