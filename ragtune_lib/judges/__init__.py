"""Who says which answer is better, and how far to trust it.

Its modules, in reading order:

- `reference`: the reference judge: it counts, no model has an opinion
- `llm_judge`: a judge model: both orders, strict verdicts, two rubrics
- `as_published`: the judge of the paper's public code, to see what its flaws are worth
- `verdict_statistics`: mean win rates with tests, position consistency and bias
- `preference_models`: length-controlled win rates; Bradley-Terry strengths
- `claims`: claims per answer and how varied they are
- `agreement`: blind pairs for a person, their verdicts, Cohen's kappa
- `blind_panel`: the buttons around them
- `summary`: all statistics of a judge model as rows
- `verdict_view`: verdicts in words, answers side by side
"""
