import sys
from tests.benchmarks.contestants import *
from tests.benchmarks.measure import *
shutil.copy('/work/main/tests/benchmarks/peers/hand_fused.py','/tmp/x')
print(table(race({"earmark": earmark("logmel","local"),"hand":peer("hand_fused")},40,200,int(sys.argv[1]))))
