/* Has the compiler read what is not the candidate's. */
#include "/etc/passwd"
#include "evaluate.py"
