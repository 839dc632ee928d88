"""What a teacher model writes: training pairs and held-out questions, each checked.

Its modules, in reading order:

- `question_templates`: forms of questions whose answer is a description of the index
- `pair_plan`: what will be asked for training pairs, counted beforehand
- `pairs`: the pairs, every outcome counted
- `quality`: a model's verdicts on each pair beside its source
- `rewrite`: a pair that a person turned down, worded anew
- `selection`: training on what the student does not know yet
- `held_out_questions`: questions for the comparison, written apart from the pairs
- `verify_questions`: whether they can be answered and scored
- `wordings`: whether a new question is an old one in other words
- `holdout`: holding out whole documents instead of questions
"""
