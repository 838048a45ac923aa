/* posthouse-recover: after a crash of the machine, writes again what the journal promised and the folders lost. */
#include "recover/recover.h"

int main(int argc, char **argv)
{
    return service_main(recover_service(), argc, argv);
}
