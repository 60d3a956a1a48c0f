package gateway

import "golang.org/x/text/language"

// texts are what the pages say in one language: title, what is the matter, what
// to do.
type texts struct {
	language string
	moment   [3]string // can't be known or done now; the page retries
	notOpen  [3]string
	badLink  [3]string
	// suspended: the tenant is, and the room is not open.
	suspended [3]string
}

// languages chooses texts by what a browser asks for.
type languages struct {
	all     []texts // the first is for everybody whose language is not there
	matcher language.Matcher
}

// choose returns the texts that fit an Accept-Language header best.
func (l *languages) choose(acceptLanguage string) texts {
	wanted, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil { // a header nobody can read is like none
		return l.all[0]
	}
	_, i, _ := l.matcher.Match(wanted...)
	return l.all[i]
}

func newLanguages() *languages {
	all := []texts{
		{
			language: "en",
			moment: [3]string{
				"One moment, please",
				"The conference service can't let you in just now.",
				"This page tries again by itself every few seconds.",
			},
			notOpen: [3]string{
				"This room is not open",
				"The meeting has ended or has not been opened yet.",
				"Go back to your course and open the room from there.",
			},
			badLink: [3]string{
				"This link does not work",
				"The link is not complete, or it is no longer valid.",
				"Go back to your course and follow the link from there. If that does not help, please tell the people who run your learning platform.",
			},
			suspended: [3]string{
				"This room can't be opened",
				"The account of your organisation is suspended: rooms that are open go on, new ones can't be opened.",
				"Please tell the people who run your learning platform.",
			},
		},
		{
			language: "es",
			moment: [3]string{
				"Un momento, por favor",
				"El servicio de videoconferencia no puede darle acceso en este instante.",
				"Esta página lo vuelve a intentar sola cada pocos segundos.",
			},
			notOpen: [3]string{
				"Esta sala no está abierta",
				"La reunión ha terminado o todavía no se ha abierto.",
				"Vuelva a su curso y abra la sala desde allí.",
			},
			badLink: [3]string{
				"Este enlace no funciona",
				"El enlace está incompleto o ya no es válido.",
				"Vuelva a su curso y siga el enlace desde allí. Si no sirve de ayuda, avise a quienes administran su plataforma de aprendizaje.",
			},
			suspended: [3]string{
				"Esta sala no se puede abrir",
				"La cuenta de su organización está suspendida: las salas abiertas continúan, pero no se pueden abrir nuevas.",
				"Avise a quienes administran su plataforma de aprendizaje.",
			},
		},
		{
			language: "fr",
			moment: [3]string{
				"Un instant, s’il vous plaît",
				"Le service de visioconférence ne peut pas vous donner accès pour le moment.",
				"Cette page réessaie d’elle-même toutes les quelques secondes.",
			},
			notOpen: [3]string{
				"Cette salle n’est pas ouverte",
				"La réunion est terminée ou n’a pas encore été ouverte.",
				"Retournez à votre cours et ouvrez la salle depuis celui-ci.",
			},
			badLink: [3]string{
				"Ce lien ne fonctionne pas",
				"Le lien est incomplet ou n’est plus valable.",
				"Retournez à votre cours et suivez le lien depuis celui-ci. Si cela n’aide pas, prévenez les responsables de votre plateforme d’apprentissage.",
			},
			suspended: [3]string{
				"Cette salle ne peut pas être ouverte",
				"Le compte de votre organisation est suspendu : les salles ouvertes continuent, mais aucune nouvelle ne peut être ouverte.",
				"Prévenez les responsables de votre plateforme d’apprentissage.",
			},
		},
		{
			language: "de",
			moment: [3]string{
				"Einen Moment bitte",
				"Der Konferenzdienst kann Sie gerade nicht einlassen.",
				"Diese Seite versucht es alle paar Sekunden von selbst noch einmal.",
			},
			notOpen: [3]string{
				"Dieser Raum ist nicht geöffnet",
				"Die Konferenz ist beendet oder noch nicht eröffnet.",
				"Gehen Sie zurück zu Ihrem Kurs und öffnen Sie den Raum von dort aus.",
			},
			badLink: [3]string{
				"Dieser Link funktioniert nicht",
				"Der Link ist unvollständig oder nicht mehr gültig.",
				"Gehen Sie zurück zu Ihrem Kurs und folgen Sie dem Link von dort aus. Hilft das nicht, wenden Sie sich an die Betreuung Ihrer Lernplattform.",
			},
			suspended: [3]string{
				"Dieser Raum kann nicht geöffnet werden",
				"Das Konto Ihrer Organisation ist gesperrt: Offene Räume laufen weiter, neue können nicht geöffnet werden.",
				"Wenden Sie sich an die Betreuung Ihrer Lernplattform.",
			},
		},
	}
	tags := make([]language.Tag, len(all))
	for i, t := range all {
		tags[i] = language.MustParse(t.language)
	}
	return &languages{all: all, matcher: language.NewMatcher(tags)}
}
