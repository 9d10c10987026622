"""The dictionary of packs: texts that the code of public XBlocks makes nearly every state say, as packs have them.

Half of a short pack would be these names. They are of code, not of courses or learners: of capa's correct maps and of
the fields of the problem block, and of other blocks' fields.

**Never change a byte of `DICTIONARY`.** Packs that are stored can only be read with it, and a test holds its checksum.
Another dictionary needs another layout of packs, beside this one.
"""

from __future__ import annotations

_OTHER_BLOCKS = """\
"saved_video_position":[0,["00:00:00"]],"speed":[0,[1.0]],"global_speed":"transcript_language":[0,["en"]],\
"youtube_is_available":"bumper_last_view_date":"has_saved_answers":[0,[false]],"has_saved_files":\
"submission_uuid":[0,[null]],"saved_response":[0,[""]],"saved_files_descriptions":"no_peers":\
"item_state":{"0":"zone":"correct":"x_percent":"y_percent":"raw_earned":"completed":[0,[false]],"grade":[0,[0.0]],\
"student_choice":"student_input":"voted":[0,[true]],"poll_answer":[0,[""]],"choices":"tally":\
"selected":[0,[["problem","position":[0,[1]],"chosen":"user_state":"score":"raw_possible":"weight":\
"""
_PROBLEM = """\
"name":"value":"state":"queuekey":"time":"20","rescored":"override_score":"matlab_session":"display":\
"Answer submitted.","partially-correct","unanswered","always","on_request","dynamath","cue_name":\
"extended_due":[0,[null]],"student_answers_history":["choice_4","choice_5","text","file",\
[2,[1],[1,["choice_1","choice_3"],"012001"]],[1,["choice_0","choice_1","choice_2"],"0120"],\
[0.0,1.0,0.0,null],[1.0,null],[null],[1],[0],\
{"seed":[10,[true,0],[0,[1]]],"input_state":[10,[true,0],[4,["_2_1","_3_1","_4_1","_5_1"],[0,[{}]]]],\
"seed":[10,[true,0],[0,[1]]],"score":[10,[10,10,0,10,true],[3,["raw_earned","raw_possible"],[[0,[0]],[0,[1]]]]],\
"correct_map":[9,[5,5,0,5],[0,[]]],\
"correct_map_history":[9,[true,-1,-1],[2,[9],[4,["_2_1","_3_1","_4_1","_5_1","_6_1","_7_1","_8_1","_9_1","_10_1",\
"_11_1"],[3,["correctness","npoints","msg","hint","hintmode","queuestate","answervariable"],\
[[1,["correct","incorrect"],"1111"],[0,[null]],[0,[""]],[0,[""]],[0,[null]],[0,[null]],[0,[null]]]]]]],\
"student_answers":[9,[7,7,0,7],[0,[]]],\
"student_answers_history":[9,[true,-1,-1],[2,[9],[3,["_10_1","_9_1","_8_1","_7_1","_6_1","_5_1","_4_1","_3_1","_2_1"],\
[[2,[1],[1,["choice_0","choice_1","choice_2","choice_3"],"0102"]],[5,"]]]]],\
"attempts":[9,[true],[0,[9,8,7,6,5,4,3,2,1]]],"done":[9,[true,0],[0,[true]]],\
"score_history":[9,[true,-1],[2,[9],[3,["raw_earned","raw_possible"],[[1,[0,1,2],"0101"],[0,[1]]]]]],\
"last_submission_time":[9,[true,0,true,true],[5,"2026-01-01T00:00:00Z|2026-01-01T00:00:00Z"]]}]\
"""

DICTIONARY = (_OTHER_BLOCKS + _PROBLEM).encode()
