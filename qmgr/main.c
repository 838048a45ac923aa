/* posthouse-qmgr: the queue manager.  See qmgr.h for the parts and docs/QUEUE.md for what happens to a file. */
#include "qmgr/qmgr.h"

int main(int argc, char **argv)
{
    return service_main(qmgr_service(), argc, argv);
}
