// Package fault marks the instructions between which a crash must do no harm: around every
// commit and every effect on the world. A build with the tag "fault" can be told to die at
// one of them; in every other build Point is empty and costs nothing.
//
//	BREVET_FAULT=store.change.commit     die at the first hit of this point
//	BREVET_FAULT=store.change.commit:3   die at the third
//	BREVET_FAULT_LIST=/tmp/points        append the name of each point when it is first hit
package fault
